// A button beside each line that is to be copied. Without scripts the line is there to be selected.
const READ_S = 2;

for (const place of document.querySelectorAll("[data-copy]")) {
    const code = place.querySelector("code");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet small";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${place.dataset.copy}`);
    button.addEventListener("click", async () => {
        button.textContent = await copied(code);
        setTimeout(() => (button.textContent = "Copy"), 1000 * READ_S);
    });
    place.append(button);
}

async function copied(code) {
    try {
        await navigator.clipboard.writeText(code.textContent); // browsers have no clipboard for pages of other hosts by http
        return "Copied";
    } catch {
        getSelection().selectAllChildren(code);
        return "Selected";
    }
}
