from collections import Counter

import pytest
import torch

from mcir_plugin.history import Window


def coordinates(height, width):
    """An image whose values say where they are."""
    return torch.arange(height * width).reshape(1, 1, height, width)


@pytest.mark.parametrize(('height', 'width', 'rows', 'columns'), [
    (6, 9, [0, 3], [0, 3, 6]), (7, 4, [0, 2, 4], [0, 1]), (3, 10, [0], [0, 2, 5, 7])])
def test_windows_cover_the_image_and_are_equally_likely_and_shared(height, width, rows, columns):
    window, image = Window(3, seed=5), coordinates(height, width)
    seen = Counter()
    for _ in range(draws := 600 * len(rows) * len(columns)):
        window.draw(image)
        cut = window(image)
        assert cut.shape == (1, 1, 3, 3)
        assert torch.equal(cut, window(image))
        assert torch.equal(cut - cut[0, 0, 0, 0], image[..., :3, :3])
        seen[int(cut[0, 0, 0, 0])] += 1
    assert set(seen) == {row * width + column for row in rows for column in columns}
    share = 1 / len(seen)
    assert all(abs(n - 600) < 5 * (draws * share * (1 - share))**0.5 + 1 for n in seen.values())  # five deviations


def test_small_images_are_taken_whole_and_clips_are_cut_alike():
    window = Window(8)
    window.draw(coordinates(5, 12))
    assert window(coordinates(5, 12)).shape == (1, 1, 5, 8)
    clip = torch.rand(2, 3, 1, 16, 16)
    window.draw(clip)
    assert window(clip).shape == (2, 3, 1, 8, 8)


def test_state_and_global_random_state():
    window, image = Window(4, seed=1), coordinates(32, 32)
    before, state = torch.get_rng_state(), window.get_state()
    first = [(window.draw(image), window(image))[1] for _ in range(5)]
    assert torch.equal(torch.get_rng_state(), before)
    other = Window(4, seed=2)
    other.set_state(state)
    assert all(torch.equal((other.draw(image), other(image))[1], cut) for cut in first)


def test_wrong_size_is_refused():
    with pytest.raises(ValueError, match='crop_size must be an integer >= 1.*received 0'):
        Window(0)
