"""Plays a person at a browser: signs in and consents on the provider's development pages."""
import html.parser, http.cookiejar, ssl, urllib.error, urllib.parse, urllib.request


class Forms(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form":
            self.forms.append(dict(action=attributes.get("action", ""), post=attributes.get("method", "").lower() == "post", fields={}))
        elif tag == "input" and self.forms and attributes.get("name"):
            self.forms[-1]["fields"][attributes["name"]] = attributes.get("value", "")

    def handle_data(self, data):
        self.text += data


class Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are followed by hand, for their cookies and for the last one, to the proxy's receiver."""

    def redirect_request(self, *_, **__):
        return None


def approve(url, user, password, authority, user_code=None):
    """Goes from the authorisation URL to the last page; (status, text) of that page."""
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), Stay, urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authority)))
    data = None
    for _ in range(20):
        try:
            answer = opener.open(urllib.request.Request(url, data=data, headers={"User-Agent": "person"}), timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        if answer.getcode() in (301, 302, 303, 307, 308):
            url, data = urllib.parse.urljoin(url, answer.headers["Location"]), None
            continue
        page = Forms()
        page.feed(answer.read().decode("utf-8", "replace"))
        form = next((form for form in page.forms if form["post"]), None)
        if answer.getcode() >= 400 or form is None:
            return answer.getcode(), " ".join(page.text.split())[:200]
        fields = form["fields"]
        if "login" in fields or fields.get("prompt") == "login":
            fields.update(login=user, password=password)
        if "user_code" in fields and user_code:
            fields["user_code"] = user_code
        url, data = urllib.parse.urljoin(url, form["action"]), urllib.parse.urlencode(fields).encode()
    return 0, "too many pages"
