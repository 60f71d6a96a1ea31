// One socket to the server: it is told what is looked at, and sends it anew whenever it changes.

let socket = null;
let wanted = new Map(); // key -> handler(data, error)
let pause = 250;
let onState = () => {};

export function start(stateChanged) {
  onState = stateChanged;
  connect();
}

/** From now on these keys are watched, and no others. */
export function watch(handlers) {
  wanted = handlers;
  tell();
}

function tell() {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify([...wanted.keys()]));
}

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.addEventListener("open", () => { pause = 250; onState(true); tell(); });
  socket.addEventListener("message", (event) => {
    const answer = JSON.parse(event.data);
    const handler = wanted.get(answer.key);
    if (handler) handler(answer.data ?? null, answer.error ? answer : null);
  });
  socket.addEventListener("close", () => {
    onState(false);
    setTimeout(connect, pause);
    pause = Math.min(pause * 2, 4000);
  });
}

/** The key of a view with its parameters; empty ones are left out. */
export function keyOf(view, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${view}?${new URLSearchParams(given)}` : view;
}

/** One question. Throws an Error with `code` where there is no answer. */
export async function ask(name, parameters = {}) {
  return answered(await fetch(`/api/${keyOf(name, parameters)}`));
}

export async function tellServer(name, wish) {
  return answered(await fetch(`/api/${name}`, { method: "POST", headers: { "x-control-room": "1" }, body: wish instanceof Blob ? wish : JSON.stringify(wish) }));
}

async function answered(response) {
  const answer = await response.json().catch(() => ({ error: "NO_ANSWER", message: response.statusText }));
  if (response.ok) return answer;
  throw Object.assign(new Error(answer.message), { code: answer.error });
}
