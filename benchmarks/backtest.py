"""Backtest of recommendations: made from the first half of recorded sessions, scored on the second half.

    python benchmarks/backtest.py STORE...

A store is what ``inferometer import PATH --store STORE`` made.
"""

from __future__ import annotations

import sys

from inferometer.analyzer.audit_dataset import load_dataset
from inferometer.analyzer.audit_knowledge import cache_rules
from inferometer.analyzer.recommend_backtest import backtest
from inferometer.analyzer.waste import Examined
from inferometer.profiles.prices import load_prices
from inferometer.schema.selection import Selection
from inferometer.store import open_store


def main(stores: list[str]) -> None:
    print("| sessions | recommendation | promised, share of the bill | realised | within the interval |")
    print("| --- | --- | ---: | ---: | --- |")
    for path in stores:
        with open_store(path) as store:
            dataset = load_dataset(store, Selection(), load_prices())
            for one in backtest(Examined(dataset, cache_rules())):
                promised = f"{one.promised_mid:.2%} ({one.promised_low:.2%} to {one.promised_high:.2%})"
                print(f"| {path} | {one.id} | {promised} | {one.realised:.2%} | {'yes' if one.holds else 'no'} |")


if __name__ == "__main__":
    main(sys.argv[1:])
