"""The real training loop on a real LMDB: what a run with SPN does, logs, saves and continues."""
import pytest
import torch


def test_run_logs_term_apart_from_pixel_loss(options, train):
    run = train(options())
    lines = run.lines()
    assert sorted(lines) == list(range(1, 9))
    for values in lines.values():
        assert values['l_pix'] > 0 > values['l_spn']
        assert values['spn/ratio'] == pytest.approx(-values['l_spn'] / values['l_pix'], rel=1e-3)
        assert -values['l_spn'] == pytest.approx(1e-3 * (values['spn/dist_1'] + values['spn/dist_2']) / 2, rel=1e-3)
    assert [lines[i]['spn/age_1'] for i in range(1, 6)] == [1, 2, 1, 2, 1]
    assert [lines[i]['spn/age_2'] for i in range(1, 6)] == [1, 2, 3, 1, 2]
    for said in ('joins: cri_pix (L1Loss)', '2 past copies of EDSR', 'extra passes', 'extra memory'):
        assert said in run.log


def test_first_pixel_loss_is_that_of_a_run_without_spn(options, train):
    with_spn = train(options(total_iter=1)).lines()[1]['l_pix']
    without = train(options(spn=False, total_iter=1)).lines()[1]['l_pix']
    assert with_spn == without


def test_term_changes_the_gradient(options, train):
    strong = options(total_iter=2)
    strong['train']['spn_opt']['loss_weight'] = 0.05
    changed = train(strong).weights()
    plain = train(options(spn=False, total_iter=2)).weights()
    assert any(not torch.equal(changed[name], plain[name]) for name in plain)
