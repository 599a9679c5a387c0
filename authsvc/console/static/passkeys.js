// Passkeys in forms. A form with data-passkey asks the authenticator before it is sent: it fetches the options, puts the
// answer into the field `credential`, and is sent as any other form. Without this file, in a browser without passkeys, or at
// an IP address, such a form stays hidden: passkeys belong to a domain (WebAuthn section 5.1.3).
"use strict";

const named = !/^[\d.]+$|^\[/.test(location.hostname);
const known = named && "PublicKeyCredential" in window && "parseRequestOptionsFromJSON" in PublicKeyCredential;

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw Object.assign(new Error(`${path}: ${answer.status}`), { status: answer.status });
  return answer.json();
}

async function ask(form) {
  const field = form.elements.auth_session;
  // A step-up begins only now, so that reading the page stores nothing.
  if (form.dataset.begin) field.value = (await post(form.dataset.begin)).auth_session;
  // The page may hold the options already.
  const asked = form.dataset.publicKey
    ? { publicKey: JSON.parse(form.dataset.publicKey) }
    : await post(form.dataset.options, field && field.value ? { auth_session: field.value } : {});
  if (field && asked.auth_session) field.value = asked.auth_session;
  const credential = form.dataset.passkey === "create"
    ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(asked.publicKey) })
    : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(asked.publicKey) });
  form.elements.credential.value = JSON.stringify(credential.toJSON());
}

function say(form, text) {
  const note = form.querySelector("[role=alert]") || document.createElement("p");
  note.className = "note error";
  note.setAttribute("role", "alert");
  note.textContent = text;
  form.prepend(note);
}

for (const form of known ? document.querySelectorAll("form[data-passkey]") : []) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      await ask(form);
      form.submit();
    } catch (error) {
      // The login is over, or too old for this: the page that takes the form asks for what is needed.
      if (error.status === 401) return form.submit();
      say(form, form.dataset.failed);
      button.disabled = false;
    }
  });
}
for (const note of known ? document.querySelectorAll("[data-without-passkeys]") : []) note.hidden = true;
