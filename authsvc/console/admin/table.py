"""The table of the console's pages: each page, and the level that it takes."""

from authsvc.console.admin import (
    acts,
    audit,
    clients,
    cut_off,
    first,
    live,
    login,
    overview,
    search,
    steps,
    token,
    users,
)
from authsvc.console.admin.access import page
from authsvc.console.page import Page
from authsvc.console.policy import policy

# The link of the first admin stands in the URL, so the page names it to nobody.
_FIRST = policy(referrer="no-referrer")

PAGES: tuple[Page, ...] = (
    Page("GET", "/first", first.first_page, _FIRST),
    Page("POST", "/first", first.make_first, _FIRST),
    Page("GET", "/login", login.login_page),
    Page("POST", "/login", login.log_in),
    Page("GET", "/login/step", steps.step_page),
    Page("POST", "/login/step", steps.answer_step),
    Page("POST", "/login/enrol", steps.enrol),
    Page("POST", "/login/enrol/confirm", steps.confirm_enrolment),
    Page("GET", "/confirm", steps.confirm_page),
    Page("POST", "/logout", login.log_out),
    page("GET", "/", overview.overview),
    page("POST", "/search", search.search, asks=True),
    page("GET", "/users", users.list_users),
    page("GET", "/users/new", users.new_user, "admin"),
    page("POST", "/users/new", users.create_user, "admin"),
    page("GET", "/users/{sub}", users.show_user),
    *acts.PAGES,
    page("GET", "/sessions", live.list_sessions),
    *clients.PAGES,
    page("GET", "/audit", audit.show_trail),
    page("GET", "/audit/export", audit.export_trail),
    page("GET", "/token", token.token_page),
    page("POST", "/token", token.explain_token, asks=True),
    page("GET", "/cut-off", cut_off.cut_off_page, "admin"),
    page("POST", "/cut-off", cut_off.cut_off, "admin"),
)
