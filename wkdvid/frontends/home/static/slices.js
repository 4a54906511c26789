// Steps through the planes of a dataset by wheel, keys and clicks. Without scripts the links and the form do.
const form = document.querySelector("form.position");
const FAR = 10;
const KEYS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: FAR, PageDown: -FAR };
const NOTED_AFTER_MS = 200; // browsers allow so many changes of an address at a time

const planes = [...document.querySelectorAll("[data-plane]")].map((figure) => ({
    axis: figure.dataset.axis,
    at: Number(figure.dataset.at),
    first: Number(figure.dataset.first),
    last: Number(figure.dataset.last),
    step: Number(figure.dataset.step),
    picture: figure.dataset.picture,
    isDrawing: false,
    figure,
    svg: figure.querySelector("svg"),
    image: figure.querySelector("image"),
}));

function move(plane, at) {
    plane.at = Math.min(Math.max(at, plane.first), plane.last);
    plane.figure.querySelector("output").textContent = `${plane.axis} ${plane.at}`;
    plane.svg.setAttribute("aria-valuenow", plane.at);
    form.elements[plane.axis].value = plane.at;
    for (const line of document.querySelectorAll(`line[data-axis=${plane.axis}]`)) {
        const { ends, first, count, length } = line.dataset;
        const place = ((plane.at + 0.5 - first) / count) * length;
        line.setAttribute(`${ends}1`, place);
        line.setAttribute(`${ends}2`, place);
    }
    noteSoon();
    draw(plane);
}

// One picture at a time is asked for; those that were passed meanwhile are left out.
async function draw(plane) {
    if (plane.isDrawing) return;
    plane.isDrawing = true;
    for (let shown; shown !== plane.at; ) {
        shown = plane.at;
        const picture = new Image();
        picture.src = `${plane.picture}&at=${shown}`;
        await picture.decode().catch(() => {}); // it is shown all the same: it says what is wrong
        plane.image.setAttribute("href", picture.src);
    }
    plane.isDrawing = false;
}

// The address says what is shown, so that it can be copied; so do the links to the other layers.
let noting = 0;
function noteSoon() {
    clearTimeout(noting);
    noting = setTimeout(() => {
        history.replaceState(null, "", `?${queryOf(new URLSearchParams(new FormData(form)))}`);
        for (const tab of document.querySelectorAll(".tabs a")) tab.search = queryOf(new URLSearchParams(tab.search));
    }, NOTED_AFTER_MS);
}

function queryOf(query) {
    for (const { axis, at } of planes) query.set(axis, at);
    return query;
}

function stepBy(plane, event) {
    if (event.key === "Home") return plane.first - plane.at;
    if (event.key === "End") return plane.last - plane.at;
    return (KEYS[event.key] ?? 0) * plane.step;
}

function lookAt(plane, event) {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(plane.svg.getScreenCTM().inverse());
    for (const line of plane.svg.querySelectorAll("line")) {
        const { axis, ends, first, count, length } = line.dataset;
        const across = planes.find((other) => other.axis === axis);
        move(across, Math.floor(Number(first) + (place[ends] / length) * count));
    }
}

for (const plane of planes) {
    const { svg } = plane;
    svg.tabIndex = 0;
    svg.setAttribute("role", "slider");
    svg.setAttribute("aria-valuemin", plane.first);
    svg.setAttribute("aria-valuemax", plane.last);
    svg.setAttribute("aria-valuenow", plane.at);
    const onWheel = (event) => {
        if (event.ctrlKey) return; // that zooms the page
        event.preventDefault();
        move(plane, plane.at + Math.sign(event.deltaY) * plane.step);
    };
    svg.addEventListener("wheel", onWheel, { passive: false });
    svg.addEventListener("keydown", (event) => {
        const by = stepBy(plane, event);
        if (!by) return;
        event.preventDefault();
        move(plane, plane.at + by);
    });
    svg.addEventListener("click", (event) => lookAt(plane, event));
    for (const link of plane.figure.querySelectorAll("[data-by]")) {
        link.addEventListener("click", (event) => {
            if (event.ctrlKey || event.metaKey || event.shiftKey) return;
            event.preventDefault();
            move(plane, plane.at + Number(link.dataset.by));
        });
    }
}
document.querySelector("[data-hint]").hidden = false;
