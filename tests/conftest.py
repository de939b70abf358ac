"""What all tests need."""
import signal

# started with & by a script, pytest and all that it starts would ignore Ctrl-C, and tests that send it would hang
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
