// A person's browser: cookies, redirects, forms.
import { parse } from "node-html-parser";
import { CookieJar } from "tough-cookie";

const MAX_REDIRECTS = 10;

export class Browser {
  #jar = new CookieJar();

  open(url) {
    return this.#go(new URL(url), { method: "GET" });
  }

  // Submits the one form of a page for which `choose` is true.
  submit(page, choose = () => true) {
    const forms = page.forms.filter(choose);
    if (forms.length !== 1) throw new Error(`${page.url.pathname} has ${forms.length} such forms: ${page.text.slice(0, 300)}`);
    const [{ action, method, fields }] = forms;
    return this.#go(new URL(action, page.url), { method, body: new URLSearchParams(fields) });
  }

  async #go(url, { method, body }) {
    for (let hop = 0; hop < MAX_REDIRECTS; hop += 1) {
      // Not text/html: the flow then ends with the connection as JSON.
      const headers = { accept: "*/*", cookie: await this.#jar.getCookieString(url.href) };
      const response = await fetch(url, { method, body, headers, redirect: "manual" });
      for (const cookie of response.headers.getSetCookie()) await this.#jar.setCookie(cookie, url.href);
      const location = response.headers.get("location");
      if (response.status < 300 || response.status >= 400 || location === null) return page(url, response);
      [url, method, body] = [new URL(location, url), "GET", undefined];
    }
    throw new Error(`more than ${MAX_REDIRECTS} redirects, the last to ${url.origin}${url.pathname}`);
  }
}

async function page(url, response) {
  const text = await response.text();
  const forms = parse(text)
    .querySelectorAll("form")
    .map((form) => ({
      action: form.getAttribute("action") ?? url.href,
      method: (form.getAttribute("method") ?? "get").toUpperCase(),
      fields: form.querySelectorAll("input").map((input) => [input.getAttribute("name"), input.getAttribute("value") ?? ""]),
      text: form.textContent,
    }));
  return { url, status: response.status, text, forms, json: () => JSON.parse(text) };
}
