import pytest
import torch

from mcir_plugin.hosts.late import LateValues


def test_numbers_by_name():
    late = LateValues(7, {'a': torch.tensor(2.), 'b': torch.tensor([1., 4.], requires_grad=True), 'c': torch.tensor(3)})
    assert late.step == 7 and late.arrived
    assert late.read() == {'a': 2., 'b': 2.5, 'c': 3.}


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_nothing_waits_until_they_are_read():
    values = {'a': torch.full((), 2., device='cuda')}
    LateValues(1, values).read()  # the first pinned memory may wait
    torch.cuda.set_sync_debug_mode('error')
    try:
        late = LateValues(2, values)
        assert not late.arrived
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert late.read() == {'a': 2.}
