"""The page of a report in a real browser without a window. Skipped where there is no Chromium or Chrome."""
import json
import os
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from mcir_plugin.report import Comparison, RunData, write_report

BROWSERS = ('chromium', 'chromium-headless-shell', 'chromium-browser', 'google-chrome', 'google-chrome-stable',
            'chrome')
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
PROBE = """<script>
addEventListener('load', () => { document.title = 'PROBE' + JSON.stringify({
  images: [...document.images].map(image => image.naturalWidth),
  loaded: performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !name.startsWith('data:')),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  heading: document.querySelector('h1').textContent, ran: window.ran === true}); });
</script></body>"""
TITLE = '<img src=x onerror="window.ran = true"><script>window.ran = true</script>'


def make_report(folder):
    values = np.random.default_rng(0).normal(30, 1, 8)
    runs = [RunData(variant, seed, f'{variant}{seed}', {TITLE: {'net_g': {'psnr': {
        f'i{n}': value + shift for n, value in enumerate(values)}}}}, {'l_pix': {1: 1., 2: 0.5}}, 100., 'CPU')
        for variant, shift in ((TITLE, 0.), ('spn', 0.1)) for seed in (0, 1)]
    found = Comparison(TITLE, tuple(runs), {'psnr': {'title': 'RGB', 'higher_is_better': True}})
    cv2.imwrite(str(folder / 'image.png'), np.zeros((300, 3000, 3), np.uint8))
    return write_report(found, found.results(), [folder / 'image.png'], folder)


@pytest.mark.skipif(BROWSER is None, reason='no Chromium or Chrome on the PATH')
@pytest.mark.parametrize('width', [1300, 500])
def test_a_browser_shows_everything_loads_nothing_and_runs_nothing(tmp_path, width):
    page = make_report(tmp_path)
    (tmp_path / 'probed.html').write_text(page.read_text().replace('</body>', PROBE))
    command = [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={tmp_path / "profile"}',
               f'--window-size={width},900', '--virtual-time-budget=5000', '--dump-dom',
               f'file://{tmp_path / "probed.html"}']
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, 'LANG': 'C.UTF-8'})
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(re.search(r'<title>PROBE(.*?)</title>', done.stdout)[1].replace('&lt;', '<').replace('&gt;', '>'))
    assert len(seen['images']) == 4 and min(seen['images']) > 100
    assert seen['loaded'] == [] and seen['ran'] is False
    assert seen['heading'] == TITLE
    assert seen['overflow'] <= 0  # wide tables scroll inside the page
