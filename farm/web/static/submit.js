// Images dropped anywhere on the page are chosen in the form; small pictures show which.

const drop = document.getElementById("drop");
const input = document.getElementById("image");
const chosen = document.getElementById("chosen");
const form = document.getElementById("submit");
const SHOWN = 12;

function show() {
  for (const old of chosen.querySelectorAll("img")) URL.revokeObjectURL(old.src);
  const files = [...input.files];
  chosen.replaceChildren(...files.slice(0, SHOWN).map((file) => {
    const image = new Image();
    image.src = URL.createObjectURL(file);
    image.alt = file.name;
    return image;
  }));
  if (files.length > SHOWN) chosen.append(`and ${files.length - SHOWN} more`);
}

input.addEventListener("change", show);

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const images = [...event.dataTransfer.files].filter((file) => file.type.startsWith("image/"));
  if (!images.length) return;
  const all = new DataTransfer();
  for (const file of images) all.items.add(file);
  input.files = all.files;
  show();
});

form.addEventListener("submit", () => {
  const send = document.getElementById("send");
  send.textContent = "Sending…";
  setTimeout(() => { send.disabled = true; });
});
window.addEventListener("pageshow", () => {
  const send = document.getElementById("send");
  send.disabled = false;
  send.textContent = "Render";
  show();
});
