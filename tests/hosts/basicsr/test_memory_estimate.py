"""What ``basicsr check`` says a run will take is what the run takes."""
import os
import re
import subprocess
import sys

import pytest
import yaml

UNITS = {'K': 2**10, 'M': 2**20, 'G': 2**30}
# the peak that the kernel has seen, above that before the model was built; freed blocks go back to the kernel at once
ENVIRONMENT = {**os.environ, 'MALLOC_MMAP_THRESHOLD_': '65536', 'MALLOC_TRIM_THRESHOLD_': '65536',
               'OMP_NUM_THREADS': '1'}
CHECK = 'from mcir_plugin.cli import main; main(["check", "-opt", "opt.yml"])'
MEASURE = """
import resource, sys
import mcir_plugin
import basicsr.train
from basicsr.data import build_dataloader, build_dataset
from basicsr.models import build_model
sys.argv = ['basicsr', '-opt', 'opt.yml']
opt = basicsr.train.parse_options('.', is_train=True)[0]
block = opt['datasets']['train']
batches = build_dataloader(build_dataset(block), block, num_gpu=0, sampler=None, seed=0)
before = int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()
model = build_model(opt)
step = 0
while step < 6:
    for batch in batches:
        step += 1
        model.feed_data(batch)
        model.optimize_parameters(step)
peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))  # ru_maxrss may be the parent's
print('grown by', int(peak.split()[1]) * 1024 - before)
"""


def run(folder, *command):
    done = subprocess.run([sys.executable, *command], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
@pytest.mark.parametrize('history', [{}, {'dtype': 'bfloat16'}])
def test_estimate_is_within_15_percent_of_what_a_run_takes(history, options, tmp_path):
    opt = options()
    opt['network_g'].update(num_feat=96, num_block=6)
    opt['datasets']['train'].update(gt_size=64, batch_size_per_gpu=8)
    opt['train']['spn_opt']['layer_weights'] = {'relu1_2': 0.2, 'relu2_2': 0.3, 'relu3_3': 0.5}
    opt['train']['history_opt'] = {'update_iter': [1, 2, 3, 100], **history}
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
    checked = run(tmp_path, '-c', CHECK)
    number, unit = re.search(r'memory: .*, ([\d.]+) ?([KMG])i?B? with SPN', checked).groups()
    estimate = float(number) * UNITS[unit]
    measured = int(run(tmp_path, '-c', MEASURE).rsplit('grown by', 1)[1])
    assert measured > 100e6
    assert estimate == pytest.approx(measured, rel=0.15)
