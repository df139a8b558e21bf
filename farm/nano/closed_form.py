"""A start for the VAE that needs no training: principal components in, least squares out.

With every residual branch at zero the encoder is linear, and so can be made to compute the
principal components of 4x4 patches; the decoder is then random features, whose best last layer is
a least-squares fit. Training starts from about 20 dB, not from noise, and takes minutes, not days.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers.models.resnet import ResnetBlock2D, SpatioTemporalResBlock
from torch import Tensor
from torch.nn import functional

# The constant that keeps GroupNorm honest, in units of the signal beside it.
ANCHOR = 8.0
# How wide the decoder's random features reach into the nonlinearity before the last convolution.
FEATURE_SCALE = 0.5
# Each component is divided by this power of its deviation: 1 would make all of them equally loud,
# and diffusion would then spend as much on the faintest detail as on light and dark.
WHITENING = 0.5
FAINT_LOG_VARIANCE = -6.0
_SIDE = 4


@torch.no_grad()
def initialise(vae: Any, pictures: Tensor) -> None:
    """Set all of `vae`'s weights from `pictures`, (picture, channel, height, width) in [-1, 1]."""
    _silence_residuals(vae)
    _make_temporal_layers_the_identity(vae.decoder)
    _start_encoder(vae, _principal_components(pictures, vae.config.latent_channels))
    _start_decoder(vae, pictures)


def image_only(vae: Any, on: bool = True) -> None:
    """Skip the decoder's temporal halves, which are the identity here and cost a third."""
    for block in _all(vae.decoder, SpatioTemporalResBlock):
        if on:
            block.forward = _spatial_half(block)
        else:
            del block.forward
    if on:
        vae.decoder.time_conv_out.forward = _unchanged
    else:
        del vae.decoder.time_conv_out.forward


def _all(module: Any, kind: type) -> list[Any]:
    return [part for part in module.modules() if isinstance(part, kind)]


def _spatial_half(block: Any) -> Any:
    def forward(hidden: Tensor, temb: Any = None, image_only_indicator: Any = None) -> Tensor:
        result: Tensor = block.spatial_res_block(hidden, temb)
        return result

    return forward


def _unchanged(sample: Tensor) -> Tensor:
    return sample


def _silence_residuals(vae: Any) -> None:
    for block in _all(vae, ResnetBlock2D):
        torch.nn.init.zeros_(block.conv2.weight)
        torch.nn.init.zeros_(block.conv2.bias)
    for middle in (vae.encoder.mid_block, vae.decoder.mid_block):
        for attention in middle.attentions:
            torch.nn.init.zeros_(attention.to_out[0].weight)
            torch.nn.init.zeros_(attention.to_out[0].bias)


def _make_temporal_layers_the_identity(decoder: Any) -> None:
    for block in _all(decoder, SpatioTemporalResBlock):
        torch.nn.init.zeros_(block.temporal_res_block.conv2.weight)
        torch.nn.init.zeros_(block.temporal_res_block.conv2.bias)
    _pass_through(decoder.time_conv_out, 3)


def _pass_through(conv: Any, count: int) -> None:
    """Let the first `count` channels through unchanged; a kernel's centre carries them."""
    middle = tuple(size // 2 for size in conv.weight.shape[2:])
    conv.weight[:count] = 0
    conv.bias[:count] = 0
    for channel in range(count):
        conv.weight[(channel, channel, *middle)] = 1


def _principal_components(pictures: Tensor, count: int) -> Tensor:
    """The patch filters of the latents, (latent, channel=3, 4, 4)."""
    patches = functional.unfold(pictures, _SIDE, stride=_SIDE).transpose(1, 2).reshape(-1, 48)
    _, singular, directions = torch.linalg.svd(patches - patches.mean(0), full_matrices=False)
    deviations = singular[:count] / math.sqrt(len(patches) - 1)
    loudness = deviations / deviations**WHITENING
    # All latents together have unit deviation, as the UNet expects.
    gain = loudness.square().mean().rsqrt() / deviations**WHITENING
    filters: Tensor = directions[:count].reshape(count, 3, _SIDE, _SIDE)
    return filters.mul(gain[:, None, None, None])


def _in_threes(conv: Any) -> None:
    """Make channels groups (d, K - d/2, -K - d/2): mean 0 and a variance of its own.

    GroupNorm over such a group of three changes d by a known factor alone, brightness included.
    """
    conv.weight[1::3] = -conv.weight[0::3] / 2
    conv.weight[2::3] = -conv.weight[0::3] / 2
    conv.bias[0::3], conv.bias[1::3], conv.bias[2::3] = 0, ANCHOR, -ANCHOR


def _undo_norm(norm: Any) -> None:
    norm.weight.fill_(1)
    norm.weight[0::3] = math.sqrt(2 / 3) * ANCHOR
    norm.bias.zero_()


def _start_encoder(vae: Any, filters: Tensor) -> None:
    encoder, count = vae.encoder, len(filters)
    _pass_through(encoder.conv_in, 3)
    first, second, third = encoder.down_blocks
    _pass_through(second.resnets[0].conv_shortcut, 12)
    # RGB of 2x2 pixels becomes 12 channels of one, and 2x2 of those become the components.
    halve = first.downsamplers[0].conv
    halve.weight[:12] = 0
    halve.bias[:12] = 0
    for channel in range(3):
        for y in range(2):
            for x in range(2):
                halve.weight[channel * 4 + y * 2 + x, channel, y, x] = 1
    reduce = second.downsamplers[0].conv
    # Rows as (y, dy, x, dx): the tap within the second halving, then that within the first.
    taps = filters.reshape(count, 3, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4)
    rows = torch.zeros(2 * count, *reduce.weight.shape[1:])
    rows[:count, :12, :2, :2] = taps.reshape(count, 12, 2, 2)
    # Each component and its negative: SiLU(a) - SiLU(-a) = a.
    rows[count:] = -rows[:count]
    reduce.weight[: 2 * count] = rows
    reduce.bias[: 2 * count] = 0
    widen = third.resnets[0].conv_shortcut
    widen.bias.zero_()
    for row in range(2 * count):
        widen.weight[3 * row] = 0
        widen.weight[3 * row, row] = 1
    _in_threes(widen)
    _undo_norm(encoder.conv_norm_out)
    out = encoder.conv_out
    out.weight.zero_()
    out.bias.zero_()
    out.bias[count:] = FAINT_LOG_VARIANCE
    for row in range(count):
        out.weight[row, 3 * row, 1, 1] = 1
        out.weight[row, 3 * (count + row), 1, 1] = -1
    vae.quant_conv.weight.copy_(torch.eye(2 * count)[:, :, None, None])
    vae.quant_conv.bias.zero_()


def _start_decoder(vae: Any, pictures: Tensor) -> None:
    decoder = vae.decoder
    spread = [block.upsamplers[0].conv for block in decoder.up_blocks if block.upsamplers]
    for conv in (decoder.conv_in, *spread):
        torch.nn.init.orthogonal_(conv.weight)
        conv.bias.zero_()
    _in_threes(decoder.up_blocks[-1].resnets[0].spatial_res_block.conv_shortcut)
    _undo_norm(decoder.conv_norm_out)
    seen: list[Tensor] = []
    hook = decoder.conv_norm_out.register_forward_hook(lambda _m, _i, output: seen.append(output))

    def features(batch: Tensor) -> Tensor:
        latents = vae.encode(batch).latent_dist.mode()
        vae.decode(latents, num_frames=1)
        return seen.pop()

    deviation = features(pictures[:16])[:, 0::3].std((0, 2, 3))
    decoder.conv_norm_out.weight[0::3] *= FEATURE_SCALE / deviation
    width = decoder.conv_norm_out.num_channels * 9 + 1
    gram = torch.zeros(width, width, dtype=torch.float64)
    product = torch.zeros(width, 3, dtype=torch.float64)
    for batch in pictures.split(8):
        patches = functional.unfold(functional.silu(features(batch)), 3, padding=1)
        # Every third pixel is plenty, and a third of the work.
        rows = patches.transpose(1, 2).reshape(-1, width - 1)[::3]
        rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1).double()
        targets = batch.permute(0, 2, 3, 1).reshape(-1, 3)[::3].double()
        gram += rows.T @ rows
        product += rows.T @ targets
    hook.remove()
    # The last entry counts the rows; a ridge of a millionth keeps the solution tame.
    gram += 1e-6 * gram[-1, -1] * torch.eye(width, dtype=torch.float64)
    solution = torch.linalg.solve(gram, product).float()
    decoder.conv_out.weight.copy_(solution[:-1].T.reshape(3, -1, 3, 3))
    decoder.conv_out.bias.copy_(solution[-1])
