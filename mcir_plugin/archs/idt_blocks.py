"""The two transformer blocks of IDT. Features are maps with the channels last, (N, H, W, C)."""
from __future__ import annotations

from torch import Tensor, nn

from mcir_plugin.archs.drop_path import DropPath
from mcir_plugin.archs.idt_attention import PositionAttention


def to_windows(x: Tensor, size: int) -> Tensor:
    """Cut maps of shape (N, H, W, C) into windows of shape (N, windows, size * size, C), both in raster order."""
    return x.unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3).flatten(3, 4).flatten(1, 2)


def from_windows(windows: Tensor, rows: int, size: int) -> Tensor:
    """Undo :func:`to_windows`, given the number of rows of windows."""
    grid = windows.unflatten(2, (size, size)).unflatten(1, (rows, -1))
    return grid.transpose(2, 3).flatten(3, 4).flatten(1, 2)


class LeFF(nn.Module):
    """Locally enhanced feed-forward layer: an MLP with a depthwise convolution and its shortcut in the middle.

    Args:
        dim (int): Channels C.
        hidden (int): Channels between.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Sequential(nn.Linear(dim, hidden), nn.GELU())
        self.dwconv = nn.Sequential(nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden), nn.GELU())
        self.linear2 = nn.Sequential(nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """From (N, H, W, C) to the same shape."""
        hidden = self.linear1(x).movedim(-1, 1)
        return self.linear2((self.dwconv(hidden) + hidden).movedim(1, -1))


class WindowBlock(nn.Module):
    """Window transformer block (WTB): attention among the pixels of each window, then LeFF. No window is shifted.

    Args:
        dim (int): Channels C.
        num_heads (int): Heads.
        side (int): Height and width of the map.
        win_size (int): Side of the windows; a smaller map is one window.
        mlp_ratio (float): Hidden channels of LeFF per channel.
        qkv_bias (bool): As in :class:`PositionAttention`.
        drop_path (float): Drop-path rate.
    """

    def __init__(self, dim: int, num_heads: int, side: int, win_size: int, mlp_ratio: float, qkv_bias: bool,
                 drop_path: float) -> None:
        super().__init__()
        self.size = min(win_size, side)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        # the bias table has win_size as its bound also where the window is smaller, as published
        self.attn = PositionAttention(dim, num_heads, self.size, win_size, 5, qkv_bias)
        self.mlp = LeFF(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """From (N, H, W, C) to the same shape."""
        windows = to_windows(self.norm1(x), self.size)
        attended = self.attn(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])
        x = x + self.drop_path(from_windows(attended, x.shape[1] // self.size, self.size))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class SpatialBlock(nn.Module):
    """Spatial transformer block (STB): attention among the windows, for every channel by itself, then LeFF.

    A token is one channel of one window, its features are the pixels of the window. Three peculiarities of the
    published network are kept, because published weights depend on them:

    - there is no normalisation before the attention;
    - what the attention returns is added in the order window by window to a map in raster order, so it lands on other
      pixels than it came from;
    - LeFF has ``win_size ** 2 * mlp_ratio`` hidden channels in every stage, whatever its channels are.

    Args:
        dim (int): Channels C.
        num_heads (int): Heads.
        side (int): Height and width of the map.
        bound (int): Offsets of as many windows or more share a position bias.
        win_size (int): Side of the windows.
        mlp_ratio (float): Hidden channels of LeFF per pixel of a window.
        qkv_bias (bool): As in :class:`PositionAttention`.
        drop_path (float): Drop-path rate.
    """

    def __init__(self, dim: int, num_heads: int, side: int, bound: int, win_size: int, mlp_ratio: float, qkv_bias: bool,
                 drop_path: float) -> None:
        super().__init__()
        self.win_size = win_size
        windows, pixels = side // win_size, win_size**2
        # 5, and less where there are fewer than three windows along a side
        kernel = 2 * min(windows - 1, 2) + 1
        self.attn = PositionAttention(pixels, num_heads, windows, bound, kernel, qkv_bias)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = LeFF(dim, int(pixels * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """From (N, H, W, C) to the same shape."""
        tokens = to_windows(x, self.win_size).movedim(-1, 1)  # (N, C, windows, pixels of a window)
        attended = self.attn(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])
        # window by window, not folded back into raster order: see above
        attended = attended.movedim(1, -1).reshape(x.shape)
        x = x + self.drop_path(attended)
        return x + self.drop_path(self.mlp(self.norm2(x)))
