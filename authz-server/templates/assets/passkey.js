// Passkeys (WebAuthn Level 3). Without this script the pages work in every other way.
"use strict";

(() => {
  if (!window.PublicKeyCredential || !navigator.credentials) return;

  const decode = (text) => {
    const base64 = text.replace(/-/g, "+").replace(/_/g, "/");
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;
  };
  const encode = (buffer) => {
    if (!buffer) return undefined;
    const text = String.fromCharCode(...new Uint8Array(buffer));
    return btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };
  const identified = (list) => (list || []).map((item) => ({ ...item, id: decode(item.id) }));

  const post = async (part, path, body) => {
    const answer = await fetch(part.dataset.base + path, {
      method: "POST",
      credentials: "same-origin",
      cache: "no-store",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": part.dataset.csrf },
      body: JSON.stringify(body),
    });
    const json = await answer.json();
    // The sign-in is too long ago for this: its page comes first.
    if (json.error === "login_required") return { location: json.location };
    if (!answer.ok) throw new Error(json.error || "failed");
    return json;
  };

  const signIn = async (part) => {
    const start = {};
    if (part.dataset.i) start.i = part.dataset.i;
    const username = document.getElementById("username");
    if (username && username.value.trim()) start.username = username.value.trim();
    const { options, ceremony } = await post(part, "/login/passkey/start", start);
    const publicKey = {
      ...options.publicKey,
      challenge: decode(options.publicKey.challenge),
      allowCredentials: identified(options.publicKey.allowCredentials),
    };
    const made = await navigator.credentials.get({ publicKey });
    const credential = {
      id: made.id,
      rawId: encode(made.rawId),
      type: made.type,
      response: {
        clientDataJSON: encode(made.response.clientDataJSON),
        authenticatorData: encode(made.response.authenticatorData),
        signature: encode(made.response.signature),
        userHandle: encode(made.response.userHandle),
      },
      extensions: {},
    };
    return post(part, "/login/passkey/finish", { ceremony, credential });
  };

  const add = async (part) => {
    const name = part.querySelector("input").value.trim();
    const start = await post(part, "/account/passkeys/start", {});
    if (start.location) return start;
    const { options, ceremony } = start;
    const publicKey = {
      ...options.publicKey,
      challenge: decode(options.publicKey.challenge),
      user: { ...options.publicKey.user, id: decode(options.publicKey.user.id) },
      excludeCredentials: identified(options.publicKey.excludeCredentials),
    };
    const made = await navigator.credentials.create({ publicKey });
    const credential = {
      id: made.id,
      rawId: encode(made.rawId),
      type: made.type,
      response: {
        clientDataJSON: encode(made.response.clientDataJSON),
        attestationObject: encode(made.response.attestationObject),
        transports: made.response.getTransports ? made.response.getTransports() : undefined,
      },
      extensions: {},
    };
    const finish = { ceremony, credential };
    if (name) finish.name = name;
    return post(part, "/account/passkeys/finish", finish);
  };

  for (const part of document.querySelectorAll("[data-passkey]")) {
    const button = part.querySelector("button");
    const status = part.querySelector("[role=status]");
    const run = part.dataset.passkey === "add" ? add : signIn;
    part.hidden = false;
    const begin = async () => {
      if (button.disabled) return;
      button.disabled = true;
      status.textContent = part.dataset.waiting;
      try {
        const { location } = await run(part);
        // The server's own path, never another origin.
        const next = new URL(location, window.location.href);
        if (next.origin !== window.location.origin) throw new Error("failed");
        // Where only the fragment differs, the page must still be loaded again.
        if (next.pathname === window.location.pathname && next.search === window.location.search) {
          window.location.reload();
        } else {
          window.location.assign(next);
        }
      } catch (fault) {
        const cancelled = fault instanceof DOMException && fault.name === "NotAllowedError";
        status.textContent = cancelled ? part.dataset.cancelled : part.dataset.failed;
        button.disabled = false;
      }
    };
    button.addEventListener("click", begin);
    const field = part.querySelector("input");
    if (field) {
      field.addEventListener("keydown", (event) => {
        if (event.key === "Enter") begin();
      });
    }
  }
})();
