"""A view of an output is recognised, and the same view is taken of another tensor; other things are refused."""
import pytest
import torch
from torch import nn

from mcir_plugin.hosts.criterion import Capture
from mcir_plugin.hosts.outputs import is_copy_of, view_of

VIEWS = {
    'itself': lambda t: t,
    'frame': lambda t: t[:, 1],
    'flattened': lambda t: t.view(-1, *t.shape[2:]),
    'transposed': lambda t: t.transpose(-1, -2),
    'cropped': lambda t: t[..., 1:4, 2:],
    'every second': lambda t: t[..., ::2],
    'last frame, cropped': lambda t: t[:, -1, :, :3],
    'unsqueezed': lambda t: t.unsqueeze(1),
}


@pytest.mark.parametrize('view', VIEWS.values(), ids=VIEWS.keys())
@pytest.mark.parametrize('other_layout', ['same', 'permuted', 'offset'])
def test_same_view_of_another_tensor(view, other_layout):
    leaf, other = torch.rand(2, 2, 3, 3, 6, 7)
    if other_layout == 'permuted':
        other = other.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)
    if other_layout == 'offset':
        other = torch.cat([torch.rand(5), other.flatten()])[5:].view(leaf.shape)
    taken = view_of(leaf, view(leaf))
    assert torch.equal(taken(other), view(other.contiguous()))


@pytest.mark.parametrize('change', [
    lambda t: t.clone(), lambda t: t.flip(-1), lambda t: t + 0, lambda t: torch.rand_like(t), lambda t: t[..., :0],
], ids=['clone', 'flip', 'sum', 'unrelated', 'empty'])
def test_no_view(change):
    leaf = torch.rand(2, 3, 6, 7)
    assert view_of(leaf, change(leaf)) is None


def test_neighbour_in_the_same_memory_is_no_view():
    first, second = torch.rand(4, 3, 6, 7).chunk(2)
    assert view_of(first, second) is None and view_of(second, first) is None
    assert torch.equal(view_of(second, second.view(2, -1))(first), first.view(2, -1))


def test_view_of_a_slice_that_shows_more_than_the_slice():
    whole = torch.rand(2, 3, 8, 8)
    cropped = whole[..., :6, :6]
    assert view_of(cropped, whole) is None and view_of(cropped, whole[..., 1:7, :6]) is None
    assert view_of(cropped, cropped)(whole) is whole
    other = torch.rand(2, 3, 6, 6)
    assert torch.equal(view_of(cropped, cropped.view(-1, 6, 6))(other), other.view(-1, 6, 6))


@pytest.mark.parametrize(('change', 'is_copy'), [
    (lambda t: t.clone(), True), (lambda t: t.clamp(0.3, 0.6), True), (lambda t: t.bfloat16(), True),
    (lambda t: t.double(), True), (lambda t: t.flip(-1), False), (lambda t: t.roll(1, -2), False),
    (lambda t: 1 - t, False), (lambda t: t * 1.01, False),
], ids=['clone', 'clamp', 'bfloat16', 'double', 'flip', 'roll', 'negative', 'scaled'])
def test_copy(change, is_copy):
    torch.manual_seed(0)
    leaf = torch.rand(2, 3, 6, 7)
    assert is_copy_of(leaf, change(leaf)) == is_copy


def test_capture_finds_the_call_and_forgets_between_steps():
    network = nn.Conv2d(3, 3, 1)
    capture = Capture(network)
    images = torch.rand(2, 1, 3, 4, 4)
    network(images[0])
    assert capture.shapes() == [], 'outside a step nothing is kept'
    capture.active = True
    outputs = [network(image) for image in images]
    for image, output in zip(images, outputs, strict=True):
        call, select = capture.find(output[:, 1:])
        assert call.inputs[0].data_ptr() == image.data_ptr()
        assert torch.equal(select(torch.arange(48.).view(1, 3, 4, 4)), torch.arange(16., 48.).view(1, 2, 4, 4))
    assert capture.find(outputs[0].flip(-1)) is None and capture.find(torch.rand(1, 3, 9, 9)) is None
    capture.clear()
    assert capture.find(outputs[0]) is None


def test_another_image_is_not_taken_for_the_copy_that_was_compared_before():
    """Asked about something else first in every step, then about a clamped output: the latter is what is paired."""
    network = nn.Conv2d(3, 3, 1)
    capture = Capture(network)
    capture.active = True
    for _ in range(3):
        output = network(torch.rand(1, 3, 4, 4))
        assert capture.find(torch.rand(1, 3, 4, 4)) is None
        assert capture.find(output.clamp(0.1, 0.9)) is not None
        capture.clear()
