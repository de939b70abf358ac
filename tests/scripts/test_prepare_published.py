"""Every published layout goes through its script; the printed block gives the data set back, pixel for pixel."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from preparation_oracles import photo, read_lmdb
from published_layouts import Miniature, miniatures

SCRIPTS = sorted(path.stem for path in Path(__file__).parents[2].glob('scripts/data_preparation/prepare_*.py'))
SETS = {'prepare_its': 'ITS', 'prepare_ots': 'OTS', 'prepare_sots': 'SOTS', 'prepare_dehazeformer': 'RESIDE',
        'prepare_ddn': 'DDN', 'prepare_did': 'DID', 'prepare_rain200': 'RAIN200', 'prepare_spa': 'SPA',
        'prepare_agan': 'AGAN', 'prepare_gopro': 'GOPRO'}
Prepare = Callable[..., tuple[int, str, str]]


@pytest.fixture
def prepare(capsys: pytest.CaptureFixture[str], one_process: None) -> Prepare:
    """Return ``prepare(script, input, output, *flags) -> (exit code, stdout, stderr)``, run in this process."""

    def run(script: str, source: Path, output: Path, *flags: str) -> tuple[int, str, str]:
        from paired_command import main
        capsys.readouterr()
        published = getattr(import_module(script), SETS[script])
        code = main(published, 'doc', ['--input', str(source), '--output', str(output), '--workers', '1', *flags])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def block_of(printed: str) -> dict[str, Any]:
    """The options of the data set that a script printed."""
    datasets = yaml.safe_load(printed[printed.index('datasets:'):])['datasets']
    (phase, block), = datasets.items()
    return {**block, 'phase': phase, 'scale': 1}


def samples(block: dict[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """All samples of a block as uint8 (H, W, 3): input, ground truth."""
    import mcir_plugin  # noqa: F401

    # isort: split
    from basicsr.data import build_dataset
    dataset = build_dataset(block)
    shown = [[(sample[kind] * 255).round().numpy().astype(np.uint8).transpose(1, 2, 0) for kind in ('lq', 'gt')]
             for sample in dataset]
    for environment in dataset.file_client.client._client.values():  # lmdb opens a folder once per process
        environment.close()
    return [tuple(pair) for pair in shown]


def same_pictures(found: list[tuple[np.ndarray, np.ndarray]], expected: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Both lists hold the same pairs of pictures, in any order."""
    as_bytes = [sorted((lq.tobytes(), gt.tobytes()) for lq, gt in pairs) for pairs in (found, expected)]
    assert len(as_bytes[0]) == len(as_bytes[1])
    assert as_bytes[0] == as_bytes[1]


def centre(picture: np.ndarray, like: np.ndarray) -> np.ndarray:
    top, left = ((a - b) // 2 for a, b in zip(picture.shape[:2], like.shape[:2], strict=True))
    return picture[top:top + like.shape[0], left:left + like.shape[1]]


@pytest.mark.parametrize('name', miniatures())
def test_published_layouts(name: str, tmp_path: Path, prepare: Prepare) -> None:
    miniature = miniatures()[name]
    source = miniature.write(tmp_path / 'in')
    code, out, err = prepare(miniature.script, source, tmp_path / 'out', '--allow-partial')
    assert code == 0, err
    files = miniature.files
    expected = [(files[lq], centre(files[gt], files[lq])) for lq, gt in miniature.pairs]
    same_pictures(samples(block_of(out)), expected)
    folder = tmp_path / 'out' / miniature.part
    assert len(read_lmdb(folder / 'lq.lmdb')) == len(miniature.pairs)
    assert len(read_lmdb(folder / 'gt.lmdb')) == len({gt for _, gt in miniature.pairs})  # each once
    for kind in ('lq', 'gt'):
        lines = (folder / f'{kind}.lmdb' / 'meta_info.txt').read_text().splitlines()
        assert [line.split('.')[0] for line in lines] == sorted(read_lmdb(folder / f'{kind}.lmdb'))
        assert sorted(path.name for path in (folder / f'{kind}.lmdb').iterdir()) == ['data.mdb', 'lock.mdb',
                                                                                     'meta_info.txt']


def test_whole_images_are_stored_as_the_files_that_they_are(tmp_path: Path, prepare: Prepare) -> None:
    import lmdb
    miniature = miniatures()['OTS']
    source = miniature.write(tmp_path / 'in')
    assert prepare('prepare_ots', source, tmp_path / 'out', '--allow-partial')[0] == 0
    with lmdb.open(str(tmp_path / 'out/train/lq.lmdb'), readonly=True) as env, env.begin() as transaction:
        assert transaction.get(b'0025_0_8_0_04') == (source / 'OTS/hazy/0025_0.8_0.04.jpg').read_bytes()
    assert '0025_0_8_0_04.jpg (24,40,3) 0' in (tmp_path / 'out/train/lq.lmdb/meta_info.txt').read_text()


def test_gopro_frames_are_cut_into_squares_of_512(tmp_path: Path, prepare: Prepare) -> None:
    sizes = {'G1': (720, 1280), 'G2': (512, 700)}
    frames = {f'train/{scene}/{kind}/000001.png': photo(*sizes[scene], seed)
              for scene in sizes for seed, kind in enumerate(('blur', 'sharp'))}
    pairs = [(f'train/{scene}/blur/000001.png', f'train/{scene}/sharp/000001.png') for scene in ('G1', 'G2')]
    miniature = Miniature('prepare_gopro', 'train', pairs, frames)
    code, out, err = prepare('prepare_gopro', miniature.write(tmp_path / 'in'), tmp_path / 'out', '--allow-partial')
    assert code == 0, err
    corners = {'G1': [(y, x) for y in (0, 208) for x in (0, 256, 512, 768)], 'G2': [(0, 0), (0, 188)]}
    expected = [tuple(frames[f'train/{scene}/{kind}/000001.png'][y:y + 512, x:x + 512] for kind in ('blur', 'sharp'))
                for scene in corners for y, x in corners[scene]]
    assert len(expected) == 10
    same_pictures(samples({**block_of(out), 'gt_size': 512}), expected)


def test_did_files_are_cut_in_the_middle(tmp_path: Path, prepare: Prepare) -> None:
    both = {f'DID-MDN-training/Rain_{strength}/train2018new/{n}.jpg': photo(24, 64, n, 3)
            for n, strength in enumerate(('Light', 'Medium', 'Heavy'))}
    miniature = Miniature('prepare_did', 'train', [], both)
    code, out, err = prepare('prepare_did', miniature.write(tmp_path / 'in'), tmp_path / 'out', '--allow-partial')
    assert code == 0, err
    same_pictures(samples(block_of(out)), [(pixels[:, :32], pixels[:, 32:]) for pixels in miniature.files.values()])


def test_the_pairs_of_spa_data_are_written_as_a_list(tmp_path: Path, prepare: Prepare) -> None:
    miniature = miniatures()['SPA-Data']
    code, out, _ = prepare('prepare_spa', miniature.write(tmp_path / 'in'), tmp_path / 'out', '--allow-partial')
    assert block_of(out)['pair_list'] == f'{tmp_path}/out/train/pairs.txt'
    lines = (tmp_path / 'out/train/pairs.txt').read_text().splitlines()
    assert len(lines) == 8
    assert 'real_world_001_001-2_001-2_256_0\treal_world_gt_001_001_256_0' in lines


def test_wrong_lines_of_a_list_are_named_or_left_out(tmp_path: Path, prepare: Prepare) -> None:
    miniature = miniatures()['SPA-Data']
    miniature.texts['real_world.txt'] += '/real_world/009/none.png /real_world_gt/009/none.png\nhalf a line of three\n'
    source = miniature.write(tmp_path / 'in')
    code, _, err = prepare('prepare_spa', source, tmp_path / 'out')
    assert code == 2
    assert '2 of 10 lines of' in err and 'line 9: /real_world/009/none.png' in err and '--allow-partial' in err
    assert not (tmp_path / 'out').exists()
    code, out, _ = prepare('prepare_spa', source, tmp_path / 'out', '--allow-partial')
    assert code == 0 and 'SPA train: 8 inputs, 4 ground truths' in out


def test_a_complete_set_needs_no_flag(tmp_path: Path, prepare: Prepare,
                                      run_script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """SOTS indoor with its real numbers: 500 hazy images of 50 clear ones. Once as a command with two processes."""
    picture = photo(4, 4, 0)
    (tmp_path / 'indoor/hazy').mkdir(parents=True)
    (tmp_path / 'indoor/clear').mkdir()
    Image.fromarray(picture).save(tmp_path / 'one.png')
    for n in range(1400, 1450):
        (tmp_path / f'indoor/clear/{n}.png').write_bytes((tmp_path / 'one.png').read_bytes())
        for i in range(1, 11):
            (tmp_path / f'indoor/hazy/{n}_{i}.png').write_bytes((tmp_path / 'one.png').read_bytes())
    code, out, err = prepare('prepare_sots', tmp_path, tmp_path / 'out')
    assert code == 0, err
    assert 'SOTS indoor: 500 inputs, 50 ground truths (SOTS indoor)' in out
    assert '500 of 550 files were compared' in out
    assert len(samples(block_of(out))) == 500
    assert block_of(out)['phase'] == 'val'
    command = run_script('prepare_sots.py', '--input', tmp_path, '--output', tmp_path / 'all', '--verify', 'all',
                         '--workers', '2')
    assert command.returncode == 0 and '550 of 550 files were compared' in command.stdout, command.stderr


def test_both_parts_are_made_and_printed(tmp_path: Path, prepare: Prepare) -> None:
    for name in ('SOTS indoor', 'SOTS outdoor'):
        miniatures()[name].write(tmp_path / 'in')
    code, out, err = prepare('prepare_sots', tmp_path / 'in', tmp_path / 'out', '--allow-partial')
    assert code == 0, err
    assert out.count('  val:') == 2
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['indoor', 'outdoor']


def test_the_folder_of_one_part_will_do(tmp_path: Path, prepare: Prepare) -> None:
    miniatures()['SOTS indoor'].write(tmp_path / 'in')
    flags = ('--allow-partial', '--part', 'indoor')
    code, _, err = prepare('prepare_sots', tmp_path / 'in/indoor', tmp_path / 'out', *flags)
    assert code == 0, err
    code, _, err = prepare('prepare_sots', tmp_path / 'in', tmp_path / 'out2', '--allow-partial', '--part', 'outdoor')
    assert code == 2 and 'outdoor: in outdoor/' in err


def test_a_subset_takes_the_first_inputs_and_what_they_need(tmp_path: Path, prepare: Prepare) -> None:
    source = miniatures()['ITS'].write(tmp_path / 'in')
    code, out, _ = prepare('prepare_its', source, tmp_path / 'out', '--allow-partial', '--subset', '3')
    assert code == 0 and 'ITS train: 3 inputs, 2 ground truths (the first 3 inputs' in out
    assert sorted(read_lmdb(tmp_path / 'out/train/lq.lmdb')) == ['12_1_0_91', '12_2_0_92', '1_1_0_91']
    assert sorted(read_lmdb(tmp_path / 'out/train/gt.lmdb')) == ['1', '12']
    assert prepare('prepare_its', source, tmp_path / 'none', '--allow-partial', '--subset', '0')[0] == 2


def test_help_of_every_script_needs_no_torch() -> None:
    assert len(SCRIPTS) == 12 and {*SETS, 'prepare_sr', 'prepare_sr_benchmarks'} == set(SCRIPTS)
    folder = Path(__file__).parents[2] / 'scripts' / 'data_preparation'
    code = ('import runpy, sys\n'
            'for script in sys.argv[1:]:\n'
            '    sys.argv = [script, "--help"]\n'
            '    try: runpy.run_path(script, run_name="__main__")\n'
            '    except SystemExit as end: assert end.code == 0, script\n'
            'print("loaded:", {"torch", "basicsr"} & set(sys.modules))')
    found = subprocess.run([sys.executable, '-c', code, *(f'{folder}/{name}.py' for name in SCRIPTS)], text=True,
                           capture_output=True, timeout=120, env={**os.environ, 'PYTHONPATH': str(folder)})
    assert found.returncode == 0, found.stderr
    assert found.stdout.endswith('loaded: set()\n')
    assert found.stdout.count('--allow-partial') >= 10
