"""One thread for all tests of networks: small tensors run faster so, and other work on the machine is not disturbed."""
import pytest
import torch


@pytest.fixture(scope='session', autouse=True)
def one_thread():
    """Set the number of threads once."""
    torch.set_num_threads(1)
