"""The learning rate: linear warmup, then cosine or WSD, all counted in samples, so that ramping up does not bend it."""

from typing import Any

from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

from pretrain.settings import PretrainSettings


def build_scheduler(settings: PretrainSettings, optimizer: Any) -> OptimizerParamScheduler:
    """megatron's schedule over samples; `step(increment=samples)` before the optimizer takes its step.

    warmup: 0 to lr in a straight line over the samples of `warmup` full batches.
    cosine: from there to min_lr at the last sample, in half a wave (arXiv:1608.03983).
    wsd: lr, then to min_lr in a straight line over the last decay_share of all samples (arXiv:2404.06395).
    """
    adam, samples = settings.optimizer, settings.samples
    wsd = adam.decay == "wsd"
    return OptimizerParamScheduler(
        optimizer,
        init_lr=0.0,
        max_lr=adam.lr,
        min_lr=adam.min_lr,
        lr_warmup_steps=adam.warmup * settings.global_batch,
        lr_decay_steps=samples,
        lr_decay_style="WSD" if wsd else "cosine",
        start_wd=adam.weight_decay,
        end_wd=adam.weight_decay,
        wd_incr_steps=1,
        wd_incr_style="constant",
        wsd_decay_steps=max(round(adam.decay_share * samples), 1) if wsd else None,
        lr_wsd_decay_style="linear" if wsd else None,
    )
