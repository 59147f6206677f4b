"""Named checks, the simulator's control API, and a browser that follows no redirect."""

import json
import os
import sys
import traceback
import urllib.error
import urllib.parse
import urllib.request

BASE = os.environ["SIMULATOR_URL"]


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)


def control(path, body=None, method=None):
    """Sends a request to the control API: GET without a body, POST with one."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    url = f"{BASE}/_sim/{path}"
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with opener.open(request) as response:
            return json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        raise AssertionError(f"/_sim/{path}: {error.code} {error.read().decode()}") from None


def browse(url, user, **cookies):
    """Opens a page as a signed-in person; returns the redirect's parameters, or the status."""
    jar = "; ".join(f"{name}={value}" for name, value in {"user_session": user, **cookies}.items())
    request = urllib.request.Request(url, headers={"cookie": jar})
    try:
        with opener.open(request) as response:
            return response.status
    except urllib.error.HTTPError as answer:
        if answer.code != 302:
            return answer.code
        back = urllib.parse.urlparse(answer.headers["location"])
        return {name: values[0] for name, values in urllib.parse.parse_qs(back.query).items()}


def ledger(**filters):
    """Returns rows of the ledger."""
    return control(f"ledger?{urllib.parse.urlencode(filters)}")["entries"]


class Checks:
    """Runs functions as checks and prints a line for each."""

    def __init__(self, group):
        self.group = group
        self.outcomes = {"ok": 0, "FAIL": 0}

    def __call__(self, name):
        """Runs a function as a check, and binds its result to the function's name."""

        def run(body):
            answer, word, words = None, "ok", ""
            try:
                answer = body()
            except Exception:  # one check must not end the others
                word = "FAIL"
                lines = traceback.format_exc().splitlines()[-6:]
                words = "".join(f"\n      {line}" for line in lines)
            self.outcomes[word] += 1
            print(f"{word:5} {self.group}: {name}{words}", flush=True)
            return answer

        return run

    def finish(self):
        """Prints the total and ends the process."""
        passed, failed = self.outcomes["ok"], self.outcomes["FAIL"]
        print(f"sum   {self.group}: {passed} passed, {failed} failed", flush=True)
        sys.exit(0 if passed and not failed else 1)
