// Comfort only: every page works without this file. It copies secrets, searches as one types, and keeps the trail live.
"use strict";

// `/` focuses the search box, as on many sites.
document.addEventListener("keydown", (event) => {
  const field = document.querySelector(".search [type=search]");
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && field && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    field.focus();
    field.select();
  }
});

// A copy button for each secret that is shown. Of several codes, each becomes a line.
for (const box of document.querySelectorAll(".secret")) {
  const button = document.createElement("button");
  button.type = "button";
  const { copy = "Copy", copied = "Copied" } = box.dataset;
  button.textContent = copy;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText([...box.querySelectorAll("code")].map((one) => one.textContent).join("\n"));
    button.textContent = copied;
    setTimeout(() => { button.textContent = copy; }, 2000);
  });
  if (navigator.clipboard) box.append(button);
}

// A link in a mail may hold a code behind `#`, which browsers send to nobody. It moves into its field, and the cursor goes on.
for (const field of document.querySelectorAll("[data-from-fragment]")) {
  if (location.hash.length > 1) {
    field.value = location.hash.slice(1);
    field.form.querySelector("[type=password]").focus();
    history.replaceState(null, "", location.pathname);
  }
}

// Replace the part of the page that a form filters, while one types. The newest question wins.
for (const form of document.querySelectorAll("form[data-live]")) {
  let timer = 0;
  let asked = 0;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const mine = ++asked;
      const url = `${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`;
      const part = await partOf(url, form.dataset.live);
      if (part && mine === asked) {
        document.getElementById(form.dataset.live).replaceWith(part);
        history.replaceState(null, "", url);
      }
    }, 200);
  });
}

// Load a part of the page again every few seconds, while the page is seen and nobody selects text in it.
for (const box of document.querySelectorAll("[data-refresh]")) {
  const id = box.id;
  const again = async () => {
    if (!document.hidden && document.getSelection().isCollapsed) {
      const part = await partOf(location.href, id, { "X-Refresh": "1" });
      if (part) document.getElementById(id).replaceWith(part);
    }
    setTimeout(again, Number(box.dataset.refresh) * 1000);
  };
  setTimeout(again, Number(box.dataset.refresh) * 1000);
}

async function partOf(url, id, headers = {}) {
  try {
    const answer = await fetch(url, { redirect: "error", headers });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return answer.ok ? page.getElementById(id) : null;
  } catch {
    return null;
  }
}
