// The pages of the connect flow: how a person reaches each, and its heading.
//
// `open(page)` walks to the page in a new browser context and leaves it there. A page must be the
// same after a reload, in which the screenshots differ.
import { accounts, addSites, api, control, failExchange, simulator, Tenant } from "./system.mjs";

const LONG_NAME = "Acme <script>alert(1)</script> & a name that is about as long as the names that people give to their teams";
const SEARCHED = "Branch 17";

// Signs a person in at the simulated provider.
async function signIn(page, login) {
  await page.context().addCookies([{ name: "user_session", value: login, url: simulator }]);
}

// Opens a link and continues to the provider.
async function proceed(page, link) {
  await page.goto(link);
  await page.getByRole("button", { name: /^Continue to/ }).click();
}

// Chooses an account on the installation page of the simulated GitHub.
async function install(page, account) {
  const form = page.locator("form", { has: page.locator(`input[name=account][value="${account}"]`) });
  await form.getByRole("button").click();
}

async function connectGitHub(page, { tenant, account, person }) {
  const link = await tenant.link("github");
  await signIn(page, person);
  await proceed(page, link);
  await install(page, account);
  return link;
}

async function consentAtJira(page, { tenant, person }) {
  const link = await tenant.link("jira");
  await signIn(page, person);
  await proceed(page, link);
  return link;
}

export async function scenarios(expiredLink) {
  const [acme, other] = [await Tenant.create("Acme"), await Tenant.create("Other")];
  const [first, , third] = await accounts("jira");
  const github = await accounts("github");
  const organization = github.find(({ members, admin }) => members.some((member) => member !== admin));
  const member = organization.members.find((one) => one !== organization.admin);
  const personal = github.find(({ login }) => login !== organization.login);
  await addSites(third.admin, ["Design & Research", "A site with <b>an unusual</b> name"]);
  await addSites(first.admin, Array.from({ length: 45 }, (_, number) => `Branch ${number + 1}`));
  const owner = { tenant: acme, account: personal.login, person: personal.admin };

  return [
    {
      name: "consent",
      heading: "Connect GitHub",
      async open(page) {
        await page.goto(await acme.link("github"));
      },
    },
    {
      name: "consent-long-names",
      heading: "Connect Google Calendar",
      async open(page) {
        const tenant = await Tenant.create(LONG_NAME);
        await page.goto(await tenant.link("google_calendar"));
      },
    },
    {
      name: "choice",
      heading: "Choose what to connect",
      open: (page) => consentAtJira(page, { tenant: acme, person: third.admin }),
    },
    {
      name: "choice-of-many",
      heading: "Choose what to connect",
      async open(page) {
        await consentAtJira(page, { tenant: acme, person: first.admin });
        await page.getByRole("link", { name: "Next" }).click();
        await page.getByText("Page 2 of 3").waitFor();
      },
    },
    {
      name: "choice-searched",
      heading: "Choose what to connect",
      async open(page) {
        await consentAtJira(page, { tenant: acme, person: first.admin });
        // By keyboard: Enter searches and chooses nothing.
        await page.getByRole("searchbox").focus();
        await page.keyboard.type(SEARCHED);
        await page.keyboard.press("Enter");
        await page.getByText("1 of 46 accounts match.").waitFor();
      },
    },
    {
      name: "choice-without-match",
      heading: "Choose what to connect",
      async open(page) {
        await consentAtJira(page, { tenant: acme, person: first.admin });
        await page.getByRole("searchbox").fill("<nothing>");
        await page.getByRole("button", { name: "Search" }).click();
        await page.getByText("No account matches").waitFor();
      },
    },
    {
      name: "connected",
      heading: "GitHub is connected",
      async open(page) {
        // The form is sent by keyboard.
        await signIn(page, owner.person);
        await page.goto(await acme.link("github"));
        await page.keyboard.press("Tab");
        await page.keyboard.press("Enter");
        await page.waitForURL(`${simulator}/**`);
        await install(page, owner.account);
      },
    },
    {
      name: "connected-after-back",
      heading: "GitHub is connected",
      async open(page) {
        const link = await connectGitHub(page, owner);
        await page.getByRole("heading", { name: "GitHub is connected" }).waitFor();
        await page.goBack();
        await page.goBack();
        await page.waitForURL(link);
      },
    },
    {
      name: "connected-by-choice",
      heading: "Jira is connected",
      async open(page) {
        const tenant = await Tenant.create("Acme");
        await consentAtJira(page, { tenant, person: third.admin });
        await page.getByRole("button", { name: /^Design & Research/ }).press("Enter");
      },
    },
    {
      name: "paused",
      heading: "Jira is connected, and paused",
      async open(page) {
        const tenant = await Tenant.create("Acme");
        await consentAtJira(page, { tenant, person: third.admin });
        await page.getByRole("button", { name: /unusual/ }).click();
        await page.getByRole("heading", { name: "Jira is connected" }).waitFor();
        const { id } = await tenant.onlyConnection();
        await tenant.call("PATCH", `/v1/connections/${id}`, { status: "paused" });
        await page.reload();
      },
    },
    {
      name: "disconnected",
      heading: "Jira is not connected",
      async open(page) {
        const tenant = await Tenant.create("Acme");
        await consentAtJira(page, { tenant, person: third.admin });
        await page.getByRole("button", { name: /^Design & Research/ }).click();
        await page.getByRole("heading", { name: "Jira is connected" }).waitFor();
        const { id } = await tenant.onlyConnection();
        await tenant.call("DELETE", `/v1/connections/${id}`);
        await page.reload();
      },
    },
    {
      name: "waiting",
      heading: "An owner must agree",
      open: (page) => connectGitHub(page, { tenant: other, account: organization.login, person: member }),
    },
    {
      name: "waiting-for-you",
      heading: "Connect GitHub",
      async open(page) {
        const link = await connectGitHub(page, { tenant: other, account: organization.login, person: member });
        await page.getByRole("heading", { name: "An owner must agree" }).waitFor();
        await page.goto(await page.getByLabel("Link to send").inputValue());
        await page.waitForURL(link);
        await page.getByText("This request waits for an owner").waitFor();
      },
    },
    {
      name: "declined",
      heading: "Jira was not connected",
      async open(page) {
        await control("jira/settings", { deny_authorizations: true });
        await consentAtJira(page, { tenant: acme, person: third.admin });
        await page.getByRole("heading", { name: "Jira was not connected" }).waitFor();
        await control("jira/settings", { deny_authorizations: false });
      },
    },
    {
      name: "already-connected",
      heading: "This account is already connected",
      open: (page) => connectGitHub(page, { ...owner, tenant: other }),
    },
    {
      name: "provider-refused",
      heading: "Jira did not accept the request",
      async open(page) {
        await failExchange(400);
        await consentAtJira(page, { tenant: acme, person: third.admin });
      },
    },
    {
      name: "provider-unreachable",
      heading: "Jira does not answer",
      async open(page) {
        await failExchange(502);
        await consentAtJira(page, { tenant: acme, person: third.admin });
      },
    },
    {
      name: "provider-not-configured",
      heading: "Slack cannot be connected yet",
      async open(page) {
        await page.goto(`${api}/v1/connect/slack/start?state=${"A".repeat(43)}`);
      },
    },
    {
      name: "link-used",
      heading: "This link was already used",
      async open(page) {
        const link = await connectGitHub(page, owner);
        await page.getByRole("heading", { name: "GitHub is connected" }).waitFor();
        await page.context().clearCookies();
        await page.goto(link);
      },
    },
    {
      name: "link-expired",
      heading: "This link has expired",
      async open(page) {
        await page.goto(expiredLink);
      },
    },
    {
      name: "link-unknown",
      heading: "This page has expired",
      async open(page) {
        await page.goto(`${api}/v1/connect/github/start?state=${"A".repeat(43)}`);
      },
    },
    {
      name: "link-incomplete",
      heading: "This address is not complete",
      async open(page) {
        await page.goto(`${api}/v1/connect/github/start?state=AAA`);
      },
    },
    {
      name: "start-again",
      heading: "Please start again",
      async open(page) {
        await page.goto(await acme.link("github"));
        await page.context().clearCookies();
        await page.getByRole("button", { name: /^Continue to/ }).click();
      },
    },
    {
      name: "no-such-page",
      heading: "This page does not exist",
      async open(page) {
        await page.goto(`${api}/v1/connect/unheard_of/start?state=${"A".repeat(43)}`);
      },
    },
  ];
}
