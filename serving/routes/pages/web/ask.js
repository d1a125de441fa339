// Requests to the service. A key, if it requires one, is kept for this tab only.
const KEY = "laurel.key";

class Failure extends Error {
  constructor(status, refusal = {}) {
    super(refusal.message ?? `HTTP ${status}`);
    this.status = status;
    this.field = refusal.field;
  }
}

/** The path below which a proxy serves the service, from the service's own settings; else empty. */
const prefix = document.body?.dataset?.prefix ?? "";

const keptKey = () => stored("sessionStorage", KEY);

/** The raw answer. Throws `Failure` for a refusal, with the service's own message; status 0 without an answer. */
async function request(path, { body } = {}) {
  const headers = { "Accept-Language": language, ...(keptKey() ? { Authorization: `Bearer ${keptKey()}` } : {}) };
  const method = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`${prefix}${path}`, { cache: "no-store", signal: AbortSignal.timeout(30000), ...method, headers });
  } catch (error) {
    throw new Failure(0, { message: error.message });
  }
  if (!answer.ok) {
    const refusal = await answer.json().catch(() => ({}));
    throw new Failure(answer.status, refusal.error);
  }
  return answer;
}

const ask = async (path, options) => (await request(path, options)).json();
