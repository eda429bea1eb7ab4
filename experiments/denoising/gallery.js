"use strict";
(() => {
  const cards = [...document.querySelectorAll(".card")], count = document.getElementById("count");
  const given = document.getElementById("class"), only = document.getElementById("only");
  const search = document.getElementById("search");
  const filter = () => {
    const words = search.value.toLowerCase();
    let shown = 0;
    for (const card of cards) {
      const fits = (!given.value || card.dataset.class === given.value) && (!only.checked || card.dataset.flagged === "1");
      card.hidden = !(fits && card.querySelector(".name").textContent.toLowerCase().includes(words));
      shown += !card.hidden;
    }
    count.textContent = `${shown} of ${cards.length} shown`;
  };
  for (const control of [given, only, search]) control.addEventListener("input", filter);
  search.form.addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
