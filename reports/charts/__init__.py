"""Charts: one a file, each a function from figures to a Vega-Lite specification without colours."""
