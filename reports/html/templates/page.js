// Copies a fix, and opens what is folded around the target of a link.
addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const code = button.parentElement.querySelector("code");
  const select = () => getSelection().selectAllChildren(code);
  const copied = () => { button.textContent = "copied"; };
  navigator.clipboard ? navigator.clipboard.writeText(code.textContent).then(copied, select) : select();
});
const unfold = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  if (target) target.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();
