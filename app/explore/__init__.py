"""Parts that the explorer's pages share: what a run holds, crops in a grid, one mask large, one mask in detail."""
