"""What the filter keeps, by rule and by cluster. A click on a bar shows its masks only."""

import streamlit as st

from app import selection
from app.filter.bars import Bar, bars
from app.filter.data import Candidates
from maskdistill.config import FilterConfig
from maskdistill.pictures import colors
from maskdistill.pseudo_labels.filter import KEEPING, KEPT, RULE_HELP, RULES, FilterResult, rules_in_force

FEW = 30  # kept masks of a cluster below which it is pointed out, unless the settings say how many it must have


def draw_rules(config: FilterConfig, result: FilterResult) -> None:
    """Every rule that is in force or decided on a mask."""
    in_force = {threshold.rule for threshold in rules_in_force(config)}
    counts = result.counts()
    items = [
        Bar(
            rule,
            f"{rule[0].upper()}{rule[1:]}",
            count,
            len(result.kept),
            f"{count:,}",
            f"{RULE_HELP[rule][0].upper()}{RULE_HELP[rule][1:]}.",
            fill="kept" if count and rule in KEEPING else "dropped",
        )
        for rule, count in counts.items()
        if count or rule in in_force or rule == KEPT
    ]
    st.markdown(
        "**What each rule does** :small[the first rule that a mask breaks drops it; click a rule to see its masks]"
    )
    bars(
        items,
        selection.option(selection.Option.RULE, "", ("", *RULES)),
        key="filter:rules",
        label="Rules",
        on_choose=lambda rule: selection.set_option(selection.Option.RULE, rule),
    )


def draw_clusters(candidates: Candidates, config: FilterConfig, result: FilterResult) -> None:
    """Kept masks of every cluster."""
    counts = result.clusters()
    least = config.min_per_cluster or FEW
    few = {cluster for cluster, count in counts.items() if count.kept < least}
    empty = sum(count.kept == 0 for count in counts.values())
    summary = f"{len(few)} of {len(counts)} keep fewer than {least} masks" if few else f"all keep {least} masks or more"
    st.markdown(
        f"**Clusters** :small[{summary}{f', {empty} of them none' if empty else ''}; click one to see only its masks]"
    )
    most = max((count.total for count in counts.values()), default=0)
    items = [
        Bar(
            str(cluster),
            candidates.decisions_now.name_of(cluster),
            count.kept,
            most,
            f"{count.kept:,} / {count.total:,}",
            fill="color",
            color=colors.cluster_color(cluster),
            warning=f"Fewer than {least} masks are kept." if cluster in few else "",
        )
        for cluster, count in counts.items()
    ]
    chosen = selection.current().cluster
    bars(
        items,
        str(chosen) if chosen in counts else "",
        key="filter:clusters",
        label="Clusters",
        narrow=True,
        on_choose=lambda cluster: selection.select(cluster=int(cluster or 0)),
    )
