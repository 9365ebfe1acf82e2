"""The Filter page: histograms with thresholds, counts of what is kept, masks at the border, presets."""
