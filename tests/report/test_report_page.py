"""The report of a comparison: numbers, pages and pictures, made from runs that are written down here."""
import json
import math
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from mcir_plugin.report import Comparison, ComparisonError, RunData, Shown, curves, sheet, write_report
from mcir_plugin.report.maps import difference_map, error_map

NASTY = '<script>alert("x")</script>&|$\\alpha_1$'
PROTOCOLS = {'psnr': {'title': 'Y, border of 2 left out', 'higher_is_better': True},
             'lpips': {'title': NASTY, 'higher_is_better': False}}
VOID = {'meta', 'img', 'br', 'hr', 'link', 'input'}


def run(variant: str, seed: int, shift: float = 0., images: int = 8, **changes) -> RunData:
    values = np.random.default_rng(seed).normal(30, 1, images)
    scores = {'psnr': {f'i{n}': value + shift for n, value in enumerate(values)},
              'lpips': {f'i{n}': 0.3 - shift / 10 for n in range(images)}}
    steps = range(10, 60, 10)
    curves = {'l_pix': {s: 1 / s for s in steps}, 'seconds': dict.fromkeys(steps, 0.1 + seed), 'lr': {10: 1e-3},
              f'{NASTY}: psnr': {20: 29., 40: 30. + shift}}
    if shift:
        curves |= {'l_spn': {s: -1e-3 / s for s in steps}, 'spn/ratio': dict.fromkeys(steps, 0.001),
                   **{f'spn/{what}_{k}': {s: float(s % 3 + k) for s in steps}
                      for what in ('dist', 'age') for k in (1, 2)}}
    return RunData(**{'variant': variant, 'seed': seed, 'name': f'{variant}{seed}', 'curves': curves, 'memory': 100.,
                      'scores': {NASTY: {'net_g': scores}}, 'device': NASTY, **changes})


def comparison(*runs: RunData, title: str = NASTY) -> Comparison:
    differing = {'train.spn_opt.type': {'none': '-', NASTY: NASTY}}
    return Comparison(title, runs, PROTOCOLS, differing, ('lpips: a remark', ))


def two_variants(shift: float = 0.5) -> Comparison:
    return comparison(*(run(name, seed, by) for name, by in (('none', 0.), (NASTY, shift)) for seed in (0, 1, 2)))


class Page(HTMLParser):
    """Collects what a browser would load, show and run, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.loaded, self.text, self.tags = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loaded += [value for name, value in attributes if name in ('src', 'href', 'srcset', 'action', 'data')]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp('report')
    found = two_variants()
    picture = folder / 'image_x.png'
    cv2.imwrite(str(picture), np.zeros((8, 8, 3), np.uint8))
    write_report(found, found.results(), [picture], folder)
    return folder


def test_page_is_whole_and_loads_nothing(written):
    html = (written / 'report.html').read_text()
    page = Page(html)
    assert not page.open
    inside = [source for source in page.loaded if source.startswith('#')]
    assert inside and all(f'id="{anchor[1:]}"' in html for anchor in inside)
    loaded = [source for source in page.loaded if source not in inside]
    assert loaded and all(source.startswith('data:image/png;base64,') for source in loaded)
    assert 'script' not in page.tags and 'link' not in page.tags
    assert 'url(' not in html and '@import' not in html


def test_names_are_shown_as_they_are(written):
    html, text = (written / 'report.html').read_text(), ''.join(Page((written / 'report.html').read_text()).text)
    assert '<script' not in html
    assert text.count(NASTY) >= 5  # title, heading, variant, set, protocol, option
    assert '<script' not in (written / 'report.md').read_text()


def test_markdown_tables_have_the_same_number_of_cells_in_every_row(written):
    lines = [line.replace('\\\\', '').replace('\\|', '') for line in (written / 'report.md').read_text().splitlines()
             if line.startswith('|')]
    assert sorted({line.count('|') for line in lines}) == [4, 5, 14]


def test_protocol_and_verdict_stand_with_the_numbers(written):
    text = ''.join(Page((written / 'report.html').read_text()).text)
    assert 'Y, border of 2 left out' in text and 'Sign test' in text and 'lpips: a remark' in text
    assert 'Of 2 comparison(s) with the baseline: better in 2.' in text
    assert 'lpips: a remark' in (written / 'report.md').read_text()
    found = json.loads((written / 'report.json').read_text())
    verdicts = {(r['metric'], r['paired']['verdict']) for r in found['results'] if r['paired']}
    assert verdicts == {('psnr', 'better'), ('lpips', 'better')}  # lpips falls
    assert found['seeds'] == [0, 1, 2]


def test_the_raw_values_of_every_run_are_kept(written):
    runs = json.loads((written / 'runs.json').read_text())
    found = json.loads((written / 'report.json').read_text())
    assert [(run['variant'], run['seed']) for run in runs] == [
        (variant, seed) for variant in found['variants'] for seed in (0, 1, 2)]
    for result in found['results']:
        values = [[run['scores'][result['dataset']][result['weights']][result['metric']][name]
                   for name in result['images']] for run in runs if run['variant'] == result['variant']]
        assert np.mean(values) == pytest.approx(result['summary']['mean'])
    assert all(len(run['curves']['l_pix']) > 1 for run in runs)


def test_the_table_of_the_page_holds_the_numbers(written):
    """One heading per set, metric and weights; below it the variants with mean, difference, interval and verdict."""
    text = ' '.join(' '.join(Page((written / 'report.html').read_text()).text).split())
    found = json.loads((written / 'report.json').read_text())['results'][1]
    paired = found['paired']
    row = (f'{NASTY} better {found["summary"]["mean"]:.4f} {found["summary"]["spread"]:.4f} {paired["mean"]:+.4f} '
           f'{paired["low"]:+.4f} to {paired["high"]:+.4f} {paired["seeds_low"]:+.4f} to {paired["seeds_high"]:+.4f} '
           f'8 / 0 {2 / 2**8:.3g}')
    assert f'{NASTY} \u00b7 psnr (dB) \u00b7 net_g none baseline' in text and row in text


def test_a_small_term_is_not_flattened_by_a_large_one():
    from matplotlib.figure import Figure
    for lines, scale in ((({1: 1., 2: 0.9}, {1: 1e-3, 2: 2e-3}), 'log'), (({1: 1.}, {1: -1e-3}), 'symlog'),
                          (({1: 1.}, {1: -0.5}), 'linear'), (({1: 1.}, {1: 0.}), 'linear'), (({}, {}), 'linear')):
        axis = Figure().subplots()
        found = comparison(*(run(name, 0, curves={'l_spn': curve}) for name, curve in zip('ab', lines, strict=True)))
        curves._lines(axis, found, 'l_spn', None)
        assert axis.get_yscale() == scale


def test_a_variant_that_collapsed_does_not_hide_how_the_others_differ():
    from matplotlib.figure import Figure
    for lowest, scale in ((10., 'symlog'), (29.5, 'linear')):
        axes = Figure().subplots(1, 2)
        found = comparison(*(run(name, 0, curves={'Set: psnr': {1: 30., 2: last}})
                             for name, last in (('none', 30.), ('a', 30.1), ('b', lowest))))
        curves._lines(axes[0], found, 'Set: psnr', None)
        curves._lines(axes[1], found, 'Set: psnr', 'none')
        assert (axes[0].get_yscale(), axes[1].get_yscale()) == ('linear', scale)
        assert axes[1].get_ylabel() == 'difference from none (dB)'


def test_many_seeds_are_a_mean_in_a_band_and_few_a_line_each():
    from matplotlib.figure import Figure
    for seeds in (4, 5):
        runs = [run(name, seed, shift, curves={'Set: psnr': {1: 20. + seed, 2: 30. + shift * seed}})
                for name, shift in (('a', 0.), ('b', 1.)) for seed in range(seeds)]
        axes = Figure().subplots(1, 2)
        curves._lines(axes[0], comparison(*runs), 'Set: psnr', None)
        curves._lines(axes[1], comparison(*runs), 'Set: psnr', 'a')
        labels = curves._legend(comparison(*runs))[1]
        if seeds == 4:
            assert [len(axis.lines) for axis in axes] == [8, 8] and labels[2:] == [f'seed {seed}' for seed in range(4)]
            continue
        assert labels[2:] == ['mean of 5 seeds, and their range']
        assert [list(line.get_ydata()) for line in axes[0].lines] == [[22., 30.], [22., 32.]]
        assert [list(line.get_ydata()) for line in axes[1].lines] == [[0., 0.], [0., 2.]]
        corners = axes[1].collections[1].get_paths()[0].vertices
        assert (corners[:, 1].min(), corners[:, 1].max()) == (0., 4.)


def test_all_built_in_variants_have_a_colour_of_their_own():
    from mcir_plugin.hosts.basicsr.compare.variants import known_variants
    from mcir_plugin.report.figures import COLOURS
    assert len(set(COLOURS)) == len(COLOURS) >= len(known_variants({'train': {}}))


def test_no_difference_is_called_so(tmp_path):
    found = two_variants(0.)
    assert {r.paired.verdict for r in found.results() if r.paired} == {'no measurable difference'}
    write_report(found, found.results(), [], tmp_path)
    assert 'no measurable difference (+0, ' in (tmp_path / 'report.md').read_text()


def test_plots_are_pictures_with_something_on_them(written):
    for name in ('losses', 'validations', 'cost', 'differences_1', 'differences_2'):
        image = cv2.imread(str(written / f'{name}.png'))
        assert min(image.shape[:2]) > 100 and (image < 200).any(axis=2).mean() > 0.002, name


def test_runs_without_logs_and_costs_have_a_report_too(tmp_path):
    found = comparison(*(run(name, 0, by, curves={}, memory=None, device='') for name, by in (('a', 0.), ('b', 1.))))
    write_report(found, found.results(), [], tmp_path)
    assert not (tmp_path / 'losses.png').exists() and not (tmp_path / 'cost.png').exists()
    assert math.isnan(found.costs()[0].seconds)


def test_cost_is_the_median_without_the_first_step():
    curves = {'seconds': {10: 9., 20: 1., 30: 2., 40: 6.}}
    found = comparison(run('a', 0, curves=curves, memory=5.), run('a', 1, curves={}, memory=7.))
    assert (found.costs()[0].seconds, found.costs()[0].memory) == (2., 7.)


def test_images_with_values_that_are_not_finite_are_left_out_everywhere():
    odd = {NASTY: {'net_g': {'psnr': {f'i{n}': math.inf if n == 3 else 30. + n for n in range(8)}}}}
    plain = {NASTY: {'net_g': {'psnr': {f'i{n}': 30. + n for n in range(8)}}}}
    found = comparison(run('a', 0, scores=odd), run('b', 0, scores=plain)).results()
    assert all(result.left_out == ('i3', ) and len(result.images) == 7 for result in found)
    assert found[0].summary.mean == pytest.approx(sum(30 + n for n in range(8) if n != 3) / 7)


@pytest.mark.parametrize(('runs', 'says'), [
    ([('a', 0), ('a', 1), ('b', 0)], r'same seeds.*a \[0, 1\]; b \[0\]'),
    ([('a', 0), ('a', 0)], 'same seed'),
])
def test_runs_that_cannot_be_paired_are_refused(runs, says):
    with pytest.raises(ComparisonError, match=says):
        comparison(*(run(*one) for one in runs))


@pytest.mark.parametrize('other', [{'images': 7}, {'scores': {NASTY: {'net_g': {'psnr': {'i0': 1.}}}}}])
def test_runs_that_were_not_evaluated_alike_are_refused(other):
    with pytest.raises(ComparisonError, match='images|alike'):
        comparison(run('a', 0), run('b', 0, **other)).results()


def test_maps_show_size_and_sign_of_a_difference():
    gt = np.full((4, 4, 3), 100, np.uint8)
    brighter, darker = gt + 10, gt - 10
    assert (error_map(brighter, gt, 10) == error_map(darker, gt, 10)).all()
    assert error_map(gt, gt, 10).max() < error_map(brighter, gt, 10).max()
    blue, red = (difference_map(image, gt, 10)[0, 0] for image in (darker, brighter))
    assert blue[0] > blue[2] and red[2] > red[0] and (difference_map(gt, gt, 10) == 255).all()
    half = difference_map(gt + 5, gt, 10)[0, 0].astype(int)
    assert np.abs(half - (255 + red.astype(int)) / 2).max() <= 1


def test_sheet_holds_every_version():
    generator = np.random.default_rng(0)
    gt = generator.integers(0, 255, (64, 48, 3), dtype=np.uint8)
    shown = Shown('x', gt[::2, ::2], gt, {'none': gt, 'spn': gt // 2, 'cr': gt // 3}, {'none': 'psnr 30'})
    drawn = sheet(shown)
    panels = 1 + 3 + 1  # input, three outputs, ground truth; below: three errors, two differences
    assert drawn.shape[1] == 384 + panels * (256 + 8) and drawn.shape[0] > 2 * 256
