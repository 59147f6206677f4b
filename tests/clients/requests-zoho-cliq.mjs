// The Zoho Cliq part of requests.mjs.
import { RequestDescription } from "./request-description.mjs";
import { OPENAPI, below, correct, withToken } from "./requests-zoho.mjs";

const API = "/api/v2";
const CHANNELS = "GET /channels";
const CHATS = "GET /chats";
const MESSAGES = "GET /chats/{CHAT_ID}/messages";
const THREADS = "GET /channels/{CHANNEL_ID}/threads";
const USER = "GET /users/{USER_ID}";

// The maximum is only in the text of these two, and that of `limit` of threads is nowhere.
const limit = { schema: { type: "integer", minimum: 1, maximum: 100 } };

// Mistakes of the descriptions, by their names.
const mistakes = {
  chats: (paths) => correct(paths["/chats"].get, "limit", limit),
  messages: (paths) => correct(paths["/chats/{CHAT_ID}/messages"].get, "limit", limit),
  threads: (paths) => {
    const { get } = paths["/channels/{CHANNEL_ID}/threads"];
    // The allowed values are only in the text.
    correct(get, "state", { schema: { enum: ["followed", "not_followed", "all"] } });
    // The fields of a page are described as a required JSON body, which a GET does not have (RFC 9110,
    // 9.3.1). Those of channels, with the same names, are parameters of the query.
    delete get.requestBody;
    get.parameters.push(
      { name: "next_token", in: "query", schema: { type: "string" } },
      { name: "limit", in: "query", schema: { type: "integer", minimum: 1 } },
    );
  },
  // The parameter is not named like the path's placeholder.
  users: (paths) => correct(paths["/users/{USER_ID}"].get, "User ID", { name: "USER_ID" }),
};

// Cliq's descriptions, one per module, as one.
class CliqRequests {
  constructor() {
    this.modules = ["channels", "chats", "messages", "threads", "users"].map(
      (name) => new RequestDescription(`${OPENAPI}/cliq-v2/${name}.yml`, { patch: ({ paths }) => mistakes[name]?.(paths) }),
    );
  }

  examine(request) {
    const found = this.modules.map((one) => [one, one.find(request.method, request.path)]);
    // Two modules may have different operations of a path.
    const [module] = found.find(([, { operation }]) => operation) ?? found.find(([, { known }]) => known) ?? found[0];
    return module.examine(request);
  }

  get unused() {
    return new Set(this.modules.flatMap((one) => [...one.unused]));
  }
}

export const zohoCliq = {
  name: "zoho_cliq",
  description: new CliqRequests(),
  path: (path) => below(`${API}/`)(path)?.slice(API.length),
  headers: withToken,
  expected: [CHANNELS, CHATS, MESSAGES, THREADS, USER],
  // Parameters that some request must have had: pages after the first one, and windows.
  sent: {
    [CHANNELS]: ["joined", "limit", "next_token"],
    [CHATS]: ["limit", "modified_before"],
    [MESSAGES]: ["fromtime", "totime", "limit"],
    [THREADS]: ["state", "limit", "next_token"],
  },
  wrong: [
    [CHANNELS, (one) => ({ ...one, query: one.query.replace("joined=true", "joined=yes") }), /joined: must be boolean/],
    [CHANNELS, (one) => ({ ...one, query: one.query.replace(/limit=\d+/, "limit=101") }), /limit: must be <= 100/],
    [CHANNELS, (one) => ({ ...one, query: `${one.query}&level=personal` }), /level: must be equal/],
    [CHATS, (one) => ({ ...one, query: `${one.query}&next_token=t` }), /next_token is not described/],
    [CHATS, (one) => ({ ...one, query: one.query.replace(/limit=\d+/, "limit=101") }), /limit: must be <= 100/],
    [MESSAGES, (one) => ({ ...one, query: one.query.replace(/fromtime=\d+/, "fromtime=yesterday") }), /fromtime: must be integer/],
    [MESSAGES, (one) => ({ ...one, query: `${one.query}&order=asc` }), /order is not described/],
    [MESSAGES, (one) => ({ ...one, path: one.path.replace("/messages", "/texts") }), /not have this path/],
    [THREADS, (one) => ({ ...one, query: one.query.replace("state=all", "state=open") }), /state: must be equal/],
    [THREADS, (one) => ({ ...one, headers: { ...one.headers, "content-type": "application/json" }, body: '{"limit":"50"}' }), /body: type application\/json is not described/],
    [USER, (one) => ({ ...one, method: "DELETE" }), /not have this method/],
  ],
};
