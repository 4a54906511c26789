// The rows of jobs that have not ended follow their events. Without scripts the page is loaded anew.
"use strict";

const MOST = 4; // connections that a browser keeps to one server are few

// Newest first: what runs is the oldest that has not ended.
const waiting = [...document.querySelectorAll("tr[data-events]")];

function followNext() {
    const row = waiting.pop();
    if (row) {
        follow(row);
    }
}

function follow(row) {
    const events = new EventSource(row.dataset.events);
    events.onmessage = (event) => {
        const job = JSON.parse(event.data);
        show(row, job);
        if (!["queued", "running"].includes(job.state)) {
            events.close();
            end(row, job);
            followNext();
        }
    };
}

function show(row, job) {
    const state = row.querySelector("[data-state]");
    if (state.textContent !== job.state) {
        state.textContent = job.state;
        state.className = `job ${job.state}`;
    }
    const bar = row.querySelector("progress");
    bar.max = job.total || 1;
    bar.value = job.done;
    row.querySelector("[data-count]").textContent = job.total ? `${job.done} of ${job.total} boxes` : "";
    row.querySelector("[data-message]").textContent = job.message;
}

function end(row, job) {
    row.querySelector("progress").remove();
    if (job.state !== "failed") {
        row.querySelector("form")?.remove();
    }
    const offer = document.querySelector(`[data-job="${CSS.escape(job.id)}"]`);
    if (offer) {
        offer.querySelector(".hint").remove();
        offer.querySelector("form").hidden = false;
    }
}

for (let i = 0; i < MOST; i += 1) {
    followNext();
}
