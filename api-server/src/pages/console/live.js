// Replaces the live part of a page with what the server sends. Without it the page still works.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  const part = main && main.querySelector("[data-live-part]");
  if (!part || !window.EventSource) return;

  const bar = document.createElement("p");
  bar.className = "live";
  const status = document.createElement("span");
  status.setAttribute("role", "status");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small";
  bar.append(status, " ", button);
  part.before(bar);

  let source = null;
  let isPaused = false;

  const show = (text, label) => {
    status.textContent = text;
    button.textContent = label;
  };

  const close = () => {
    if (source) source.close();
    source = null;
  };

  const open = () => {
    close();
    show("Connecting …", "Pause");
    source = new EventSource(main.dataset.live);
    source.addEventListener("open", () => show("Live", "Pause"));
    source.addEventListener("update", (event) => {
      // A part that has the focus stays, so that the keyboard does not lose its place.
      if (!part.contains(document.activeElement)) part.innerHTML = event.data;
    });
    source.addEventListener("end", () => {
      close();
      isPaused = true;
      show("The session has ended. Reload the page to sign in.", "Reload");
      button.onclick = () => window.location.reload();
    });
    source.addEventListener("error", () => show("Connection lost, retrying …", "Pause"));
  };

  button.onclick = () => {
    isPaused = !isPaused;
    if (isPaused) {
      close();
      show("Paused", "Resume");
    } else {
      open();
    }
  };

  // A page in the background needs no updates.
  document.addEventListener("visibilitychange", () => {
    if (isPaused) return;
    if (document.hidden) close();
    else open();
  });

  open();
})();
