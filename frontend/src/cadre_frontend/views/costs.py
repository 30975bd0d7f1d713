"""What models cost: sums of the ledger in groups, what is uncertain, and how the budgets stand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import streamlit as st

from cadre_client import BudgetStatus, BudgetUse, UsageReport
from cadre_frontend.gateway import gateway
from cadre_frontend.widgets.amounts import cost, dollars, tokens
from cadre_frontend.widgets.texts import plain

DIMENSIONS = ["model", "workflow", "node", "run", "provider", "key", "schedule", "day", "hour"]
SPANS = {"Last 24 hours": 1, "Last 7 days": 7, "Last 30 days": 30, "All": None}
LONGEST_CHART = 20


def draw_sums(report: UsageReport, dimension: str) -> None:
    """The groups as bars and as a table, and what the sums leave open."""
    used, price, saved = st.columns([2, 1, 1])
    used.metric("Tokens", tokens(report.total))
    price.metric("Cost", cost(report.total))
    details = report.total_details
    reused = f"{details.reused_replies:,} replies given again, {details.saved_tokens:,} tokens"
    saved.metric("Saved by reuse", dollars(details.saved_usd), help=plain(reused))
    if not report.groups:
        st.info("No model was called yet.")
        return
    draw_remarks(report)
    draw_bars(report, dimension)
    rows = [
        {
            dimension: group.keys.get(dimension) or "–",
            "calls": group.usage.calls,
            "tokens in": group.usage.input_tokens,
            "tokens out": group.usage.output_tokens,
            "cost": cost(group.usage),
            "failed": group.failed_calls,
        }
        for group in report.groups
    ]
    st.dataframe(rows, hide_index=True)


def draw_remarks(report: UsageReport) -> None:
    """What is not in the cost."""
    details = report.total_details
    if report.total.cost_usd is None:
        st.caption(plain(f"The costs that are known add up to {dollars(details.known_usd)}."))
    if details.uncertain_calls:
        unknown = details.unbounded_calls
        st.warning(
            plain(
                f"{details.uncertain_calls} calls were sent and their replies never seen. They cost at most "
                f"{dollars(details.uncertain_usd)}; budgets count that."
                + (f" Not in it: {unknown} calls whose price nobody knows." if unknown else "")
            )
        )


def draw_bars(report: UsageReport, dimension: str) -> None:
    """Each group's cost, or its tokens where nothing cost anything."""
    amounts = {g.keys.get(dimension) or "–": g.details.known_usd for g in report.groups}
    what = "US dollars"
    if not any(amounts.values()):
        what = "tokens"
        amounts = {
            g.keys.get(dimension) or "–": Decimal(g.usage.input_tokens + g.usage.output_tokens)
            for g in report.groups
        }
    bars = list(amounts.items())[:LONGEST_CHART]
    data = [{dimension: name, what: float(amount)} for name, amount in bars]
    st.bar_chart(data, x=dimension, y=what, horizontal=dimension not in ("day", "hour"))


def draw_budget(status: BudgetStatus) -> None:
    """One budget: what it bounds, and how its periods stand."""
    budget = status.budget
    with st.container(border=True):
        whose = f"{budget.scope} {budget.subject}" if budget.subject else "all calls"
        st.markdown(f"**{plain(budget.name)}**: {plain(whose)}, {plain(limit_of(status))}")
        for use in status.uses:
            st.progress(share(status, use), text=plain(use_of(use)))
            if use.warned:
                st.caption("Nearly used up.")


def limit_of(status: BudgetStatus) -> str:
    """$5 and 1,000 tokens a day, then runs wait."""
    budget = status.budget
    usd = [dollars(budget.usd)] if budget.usd is not None else []
    counted = [f"{budget.tokens:,} tokens"] if budget.tokens is not None else []
    limit = f"{' and '.join([*usd, *counted])} a {budget.period}"
    return f"{limit}, {budget.instead}" if budget.instead else limit


def use_of(use: BudgetUse) -> str:
    """What a period used."""
    until = f", begins anew at {use.reset_time:%Y-%m-%d %H:%M} UTC" if use.reset_time else ""
    return f"{use.period}: {dollars(use.used_usd)}, {use.used_tokens:,} tokens{until}"


def share(status: BudgetStatus, use: BudgetUse) -> float:
    """How much of the tighter limit is used, 0 to 1."""
    budget = status.budget
    shares = [0.0]
    if budget.usd:
        shares.append(float(use.used_usd / budget.usd))
    if budget.tokens:
        shares.append(use.used_tokens / budget.tokens)
    return min(1.0, max(shares))


st.title("Costs")
by, span = st.columns(2)
dimension = by.selectbox("By", DIMENSIONS, key="by", bind="query-params")
days = SPANS[span.selectbox("Time", list(SPANS), index=1, key="time")]
start = None if days is None else datetime.now(UTC) - timedelta(days=days)
draw_sums(gateway().usage(group_by=[dimension], start=start), dimension)
st.header("Budgets")
budgets = gateway().budgets()
for status in budgets:
    draw_budget(status)
if not budgets:
    st.info("There are no budgets. Set one: `cadre budgets set monthly --usd 20 --per month`")
