"""Parts of the Filter page: histograms with their thresholds, counts, masks at the border, presets."""
