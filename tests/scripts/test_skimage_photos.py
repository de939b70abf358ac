"""The photographs come out of the installed wheel, and no scene is on both sides."""
from __future__ import annotations

from pathlib import Path

import pytest
import skimage_photos
from PIL import Image


@pytest.fixture(scope='module')
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command made."""
    pytest.importorskip('skimage')
    folder = tmp_path_factory.mktemp('photos') / 'out'
    assert skimage_photos.main(['--output', str(folder)]) == 0
    return folder


def test_they_are_the_wheels_own_files_and_decode(photos: Path) -> None:
    import skimage

    names = {path.name: path for path in photos.glob('*/*')}
    assert len(names) >= 8
    for name, path in names.items():
        assert path.read_bytes() == (Path(skimage.__file__).parent / 'data' / name).read_bytes()
        with Image.open(path) as image:
            image.load()
            assert image.mode in ('RGB', 'L')
            assert min(image.size) >= 300


def test_no_scene_is_on_both_sides(photos: Path) -> None:
    scenes = [{path.stem.partition('_')[0] for path in (photos / part).iterdir()} for part in ('train', 'val')]
    assert all(len(scene) >= 3 for scene in scenes)
    assert scenes[0].isdisjoint(scenes[1])


def test_refuses_to_overwrite(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert skimage_photos.main(['--output', str(photos)]) == 2
    assert 'exists already' in capsys.readouterr().err


def test_an_image_missing_from_the_wheel_is_named(tmp_path: Path) -> None:
    from new_folder import PreparationError

    with pytest.raises(PreparationError, match='has no brick.png'):
        skimage_photos.copy_photos(tmp_path, tmp_path / 'out')
    assert list(tmp_path.iterdir()) == []
