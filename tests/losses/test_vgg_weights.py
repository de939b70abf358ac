import hashlib
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torchvision import models

from mcir_plugin.config.vgg_names import VGG_TYPES
from mcir_plugin.losses import FeatureWeightsError, SPNLoss, locate_weights, vgg_weights
from mcir_plugin.losses.vgg_weights import FILE_NAMES, load_weights


def whole_file(vgg_type, path):
    """A file with all keys and shapes of the published one, but of a few kilobytes: every tensor is one number."""
    with torch.device('meta'):
        shapes = {key: value.shape for key, value in getattr(models, vgg_type)(weights=None).state_dict().items()}
    torch.save({key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}, path)
    return path


def test_file_names_are_the_published_ones():
    assert set(FILE_NAMES) == set(VGG_TYPES)
    for vgg_type, name in FILE_NAMES.items():
        assert models.get_model_weights(vgg_type).IMAGENET1K_V1.url == vgg_weights.BASE_URL + name


def test_pretrained_folder_comes_before_the_hub_cache(private_places):
    pretrained, hub = private_places
    (hub / 'vgg16-397923af.pth').touch()
    assert locate_weights('vgg16') == hub / 'vgg16-397923af.pth'
    (pretrained / 'vgg16-397923af.pth').touch()
    assert locate_weights('vgg16') == pretrained / 'vgg16-397923af.pth'


def test_vgg19_file_in_the_pretrained_folder_does_not_disturb_vgg16(private_places, random_vgg):
    pretrained, hub = private_places
    whole_file('vgg19', pretrained / 'vgg19-dcbb9e9d.pth')
    with pytest.raises(FeatureWeightsError, match='vgg16-397923af.pth are neither in'):
        SPNLoss()
    _, path = random_vgg('vgg16')
    (hub / 'vgg16-397923af.pth').write_bytes(path.read_bytes())
    assert torch.equal(SPNLoss().extractor.features[0].weight, torch.load(path, weights_only=True)['features.0.weight'])


def test_offline_error_names_file_url_and_three_ways(private_places):
    with pytest.raises(FeatureWeightsError) as caught:
        SPNLoss(vgg_type='vgg19')
    message = str(caught.value)
    for part in ('vgg19-dcbb9e9d.pth', 'https://download.pytorch.org/models/vgg19-dcbb9e9d.pth', 'MCIR_OFFLINE',
                 *map(str, private_places), 'vgg_weights: /path/to/', 'vgg_weights: random:0', '1. ', '2. ', '3. '):
        assert part in message


def test_download_without_network_gives_the_same_error(private_places, monkeypatch, caplog):
    def unreachable(url, dst, hash_prefix=None, progress=True):
        raise URLError('no route to host')

    monkeypatch.setenv('MCIR_OFFLINE', '0')
    monkeypatch.setattr(torch.hub, 'download_url_to_file', unreachable)
    with pytest.raises(FeatureWeightsError, match='(?s)no route to host.*1. .*2. .*3. '):
        locate_weights('vgg16')
    assert 'https://download.pytorch.org/models/vgg16-397923af.pth' in caplog.text
    assert str(private_places[1] / 'vgg16-397923af.pth') in caplog.text


@pytest.mark.parametrize('intact', [True, False])
def test_download_checks_the_hash_and_leaves_nothing_broken(intact, private_places, random_vgg, monkeypatch):
    content = random_vgg('vgg16')[1].read_bytes()
    name = f'vgg16-{hashlib.sha256(content).hexdigest()[:8]}.pth'
    server = Path('server')
    server.mkdir()
    (server / name).write_bytes(content if intact else content[:-1])
    monkeypatch.setenv('MCIR_OFFLINE', '')
    monkeypatch.setattr(vgg_weights, 'BASE_URL', server.absolute().as_uri() + '/')
    monkeypatch.setitem(FILE_NAMES, 'vgg16', name)
    private_places[1].rmdir()
    if intact:
        assert locate_weights('vgg16').read_bytes() == content
        assert locate_weights('vgg16').parent == private_places[1]
    else:
        with pytest.raises(FeatureWeightsError, match='invalid hash'):
            locate_weights('vgg16')
        assert list(private_places[1].iterdir()) == []


@pytest.mark.parametrize('wrap', [lambda state: state, lambda state: {'state_dict': state, 'epoch': 3},
                                  lambda state: {'params': state}])
def test_file_that_ends_at_the_deepest_layer_is_accepted(wrap, tmp_path, random_vgg):
    whole = torch.load(random_vgg('vgg19')[1], weights_only=True)
    part = {key: value.double() for key, value in whole.items() if int(key.split('.')[1]) <= 10}
    torch.save(wrap(part), tmp_path / 'part.pth')
    loaded = load_weights('vgg19', tmp_path / 'part.pth', ['relu1_2', 'relu3_1'])
    assert list(loaded) == list(part)
    assert all(torch.equal(loaded[key], whole[key]) for key in part)


def test_only_the_needed_tensors_are_loaded(random_vgg):
    assert list(load_weights('vgg16_bn', random_vgg('vgg16_bn')[1], ['conv1_2'])) == [
        'features.0.weight', 'features.0.bias', 'features.1.weight', 'features.1.bias', 'features.1.running_mean',
        'features.1.running_var', 'features.3.weight', 'features.3.bias']


@pytest.mark.parametrize('given', VGG_TYPES)
@pytest.mark.parametrize('asked', ['vgg16', 'vgg19_bn'])
def test_whole_file_of_another_type_is_recognised(given, asked, tmp_path):
    path = whole_file(given, tmp_path / 'file.pth')
    if given == asked:
        assert load_weights(asked, path, ['relu1_2'])
    else:
        with pytest.raises(FeatureWeightsError, match=f'file.pth.*{asked}.* looks like {given}:'):
            load_weights(asked, path, ['relu1_2'])


def test_too_short_file_says_what_is_missing(tmp_path, random_vgg):
    state = torch.load(random_vgg('vgg16')[1], weights_only=True)
    torch.save({key: value for key, value in state.items() if int(key.split('.')[1]) <= 10}, tmp_path / 'short.pth')
    with pytest.raises(FeatureWeightsError, match='short.pth.*features.12.weight is missing.*first layers only'):
        load_weights('vgg16', tmp_path / 'short.pth', ['relu3_3'])


@pytest.mark.parametrize(('content', 'message'), [
    ({'features.0.weight': torch.zeros(64, 1, 3, 3), 'features.0.bias': torch.zeros(64)},
     r'features.0.weight is \(64, 1, 3, 3\), expected \(64, 3, 3, 3\).*no VGG'),
    ({'conv1.weight': torch.zeros(3)}, 'features.0.weight is missing.*conv1.weight'),
    ({}, 'there are none'),
    ([torch.zeros(3)], 'holds a list, not a state dict'),
    (torch.zeros(3), 'holds a Tensor, not a state dict'),
])
def test_wrong_content_is_described(content, message, tmp_path):
    torch.save(content, tmp_path / 'wrong.pth')
    with pytest.raises(FeatureWeightsError, match=f'wrong.pth.*{message}'):
        load_weights('vgg16', tmp_path / 'wrong.pth', ['relu1_1'])


@pytest.mark.parametrize('share', [0, 0.1, 0.5, 0.99])
def test_truncated_file_is_refused(share, tmp_path, random_vgg):
    content = random_vgg('vgg16')[1].read_bytes()
    (tmp_path / 'cut.pth').write_bytes(content[:int(share * len(content))])
    with pytest.raises(FeatureWeightsError, match='cut.pth cannot be read.*truncated'):
        load_weights('vgg16', tmp_path / 'cut.pth', ['relu1_1'])


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize('legacy', [True, False])
def test_file_that_runs_code_is_refused_and_nothing_runs(legacy, tmp_path):
    path, made = tmp_path / 'hostile.pth', tmp_path / 'made'
    torch.save({'features.0.weight': Payload(made)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(FeatureWeightsError, match='hostile.pth.*refused because they could run code'):
        load_weights('vgg16', path, ['relu1_1'])
    assert not made.exists()
    assert zipfile.is_zipfile(path) != legacy
    torch.load(path, weights_only=False)  # the payload is a real one
    assert made.is_dir()


def test_plain_pickle_is_refused(tmp_path):
    (tmp_path / 'plain.pkl').write_bytes(pickle.dumps(Payload(tmp_path / 'made'), protocol=2))
    with pytest.raises(FeatureWeightsError, match='plain.pkl cannot be read'):
        load_weights('vgg16', str(tmp_path / 'plain.pkl'), ['relu1_1'])
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('name', ['', 'nowhere.pth', '.'])
def test_missing_file_is_named(name, private_places):
    with pytest.raises(FeatureWeightsError, match='there is no file.*looked for from'):
        load_weights('vgg16', name, ['relu1_1'])


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'mine.pth').touch()
    assert locate_weights('vgg16', '~/mine.pth') == tmp_path / 'mine.pth'


@pytest.mark.parametrize('text', ['random', 'random:', 'random:x', 'random:-1', 'random: 1', 'random:1.5', 'random:1_0',
                                  'random:9223372036854775808'])
def test_malformed_seed_is_refused(text):
    with pytest.raises(ValueError, match=f"vgg_weights is '{text}'.*random:0"):
        load_weights('vgg16', text, ['relu1_1'])


def test_random_weights_have_no_file_and_a_number_is_no_file():
    with pytest.raises(ValueError, match='no file to locate'):
        locate_weights('vgg16', 'random:0')
    with pytest.raises(TypeError, match='received 16'):
        locate_weights('vgg16', 16)


def test_random_weights_are_he_normal_and_depend_on_the_seed_alone():
    weights = load_weights('vgg16_bn', 'random:5', ['relu3_3'])
    for key, value in weights.items():
        if value.dim() == 4:
            assert value.std().item() == pytest.approx((2 / (9 * value.shape[1]))**0.5, rel=0.05)
            assert abs(value.mean().item()) < 5 * value.std().item() / value.numel()**0.5
        else:
            assert set(value.tolist()) == {1. if key.endswith(('weight', 'running_var')) else 0.}
    shallow, other = (load_weights('vgg16_bn', text, ['relu1_1']) for text in ('random:5', 'random:6'))
    assert torch.equal(shallow['features.0.weight'], weights['features.0.weight'])
    assert not torch.equal(other['features.0.weight'], weights['features.0.weight'])


def test_random_weights_leave_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    SPNLoss(vgg_type='vgg11_bn', layer_weights={'relu2_1': 1}, vgg_weights='random:9')
    assert torch.equal(torch.rand(3), expected)


def test_random_weights_are_the_same_in_another_process():
    code = ('import hashlib, torch; torch.manual_seed(77); from mcir_plugin.losses import VGGFeatures as V; '
            'state = V(["relu2_1"], "vgg16", "random:3").state_dict(); '
            'print(hashlib.sha256(b"".join(v.numpy().tobytes() for v in state.values())).hexdigest())')
    other = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True,
                           cwd=Path(__file__).parents[2]).stdout.strip()
    own = load_weights('vgg16', 'random:3', ['relu2_1'])
    assert other == hashlib.sha256(b''.join(value.numpy().tobytes() for value in own.values())).hexdigest()
