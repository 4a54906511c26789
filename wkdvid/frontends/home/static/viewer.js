// Neuroglancer's build for Python talks with a Python process: by an event stream, which would keep one of the few
// connections to this server, and by POSTs of every change. Here is none: what is shown is said by the address.
const ANSWERS = {
    state: { g: "" },
    action: {},
    credentials: { generation: 0, credentials: { tokenType: "Bearer", accessToken: "" } }, // it asks before dvid:// alone
};
const { fetch: ask } = window;

window.EventSource = class {
    constructor() {
        queueMicrotask(() => this.onopen?.());
    }

    close() {}
};

window.fetch = (address, options) => {
    const [, kind] = /\/neuroglancer\/(\w+)\/view$/.exec(String(address)) ?? [];
    return kind in ANSWERS ? Promise.resolve(Response.json(ANSWERS[kind])) : ask(address, options);
};
