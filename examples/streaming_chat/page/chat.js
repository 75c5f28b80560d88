"use strict";

const byId = (id) => document.getElementById(id);
const log = byId("log"), left = byId("left"), fill = byId("fill");
let full = 0;

// The credit, live: every change of it is one message.
const balance = new EventSource("/balance");
balance.onmessage = (message) => {
  const now = Number(JSON.parse(message.data).left);
  full = Math.max(full, now);
  left.value = now;
  fill.style.transform = `scaleX(${full ? Math.max(0, now) / full : 0})`;
  document.querySelector(".meter").classList.toggle("empty", now <= 0);
};

function say(kind, text) {
  const line = document.createElement("p");
  line.className = kind;
  line.textContent = text;
  log.append(line);
  log.scrollTop = log.scrollHeight;
  return line;
}

async function* linesOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

async function ask(prompt) {
  say("question", prompt);
  const response = await fetch("/chat", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt }),
  });
  if (!response.ok) {
    const problem = await response.json();
    say("bill cut", `Not answered: ${problem.detail}`);
    return;
  }
  const answer = say("answer open", "");
  try {
    for await (const line of linesOf(response)) {
      if (line.word !== undefined) {
        answer.textContent += line.word;
        log.scrollTop = log.scrollHeight;
      } else if (line.cut) {
        say("bill cut", `Cut off: your credit is used up. ${line.used} tokens paid.`);
      } else {
        say("bill", `${line.used} tokens paid.`);
      }
    }
  } finally {
    answer.classList.remove("open");
  }
}

byId("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const prompt = byId("prompt").value.trim() || byId("prompt").placeholder;
  byId("prompt").value = "";
  byId("send").disabled = true;
  try {
    await ask(prompt);
  } catch (error) {
    say("bill cut", "The connection broke. What was used is settled all the same.");
  } finally {
    byId("send").disabled = false;
    byId("prompt").focus();
  }
});

byId("top-up").addEventListener("click", () => fetch("/top-up", { method: "POST" }));
