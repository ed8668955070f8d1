"""Profiles: dated, sourced descriptions of hardware, engines, models, cache rules, prices, training runs and claims."""
