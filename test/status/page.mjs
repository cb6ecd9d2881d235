// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// The status page in a real browser, on a service under load: page.mjs LOAD SCREENSHOT_FOLDER
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import assert from "node:assert/strict";
import { findBrowser, newPage } from "../support/browser.mjs";

const [program, folder, modules] = process.argv.slice(2);
const chromium = findBrowser(modules);
const begin = async more => {
  const started = spawn(program, ["the-secret", ...more], { stdio: ["pipe", "pipe", "inherit"] });
  return [started, await new Promise(got => createInterface({ input: started.stdout }).once("line", got))];
};
const [load, port] = await begin([]);
// Not waitForFunction, which the page's policy forbids.
const until = async (what, holds) => {
  for (const end = Date.now() + 60000; !await holds();) {
    assert.ok(Date.now() < end, what);
    await new Promise(next => setTimeout(next, 50));
  }
};
const tell = command => load.stdin.write(command + "\n");
mkdirSync(folder, { recursive: true });

const browser = await chromium.open();
try {
  const { page, complaints } = await newPage(browser, { width: 1280, height: 900 });
  await page.goto(`http://127.0.0.1:${port}/`);

  const card = kind => page.locator(`.card[data-kind=${kind}]${kind === "retry" ? "[data-name=again]" : ""}`);
  const wait = { timeout: 60000 };
  await page.locator("#link.live").waitFor(wait);
  for (const kind of ["rate_limiter", "resource_pool", "circuit_breaker", "bulkhead", "retry", "hedge", "coalescer"]) {
    await card(kind).waitFor(wait);
  }
  await page.locator(".card[data-kind=circuit_breaker][data-state=closed]").waitFor(wait);
  await card("circuit_breaker").locator(".state", { hasText: /closed/ }).first().waitFor(wait);
  await card("bulkhead").locator(".legend", { hasText: /1 of 2 running/ }).first().waitFor(wait);
  await card("resource_pool").locator(".legend", { hasText: /leased.*idle.*overflow.*waiting/ }).first().waitFor(wait);
  await card("rate_limiter").locator("dl", { hasText: "busy: client:" }).waitFor(wait);

  // Break the database: the breaker opens, and the page says so, in its state, its facts and the events.
  tell("break");
  await page.locator(".card[data-kind=circuit_breaker][data-state=open]").waitFor(wait);
  await card("circuit_breaker").locator(".state", { hasText: /✕ open/ }).first().waitFor(wait);
  await card("circuit_breaker").locator("dl", { hasText: /next probe/ }).first().waitFor(wait);
  await page.locator("#events li[data-event=breaker_state]", { hasText: "closed → open" }).first().waitFor(wait);
  await card("circuit_breaker").locator(".changes li", { hasText: "closed → open: consecutive failures" }).first().waitFor(wait);
  await card("retry").locator(".state", { hasText: /budget exhausted/ }).waitFor(wait);
  await page.locator("#events li[data-event=budget_exhausted]").first().waitFor(wait);
  await page.screenshot({ path: join(folder, "open.png"), fullPage: true });
  tell("heal");
  await page.locator(".card[data-kind=circuit_breaker][data-state=closed]").waitFor(wait);
  await page.locator("#events li[data-event=breaker_state]", { hasText: "→ closed" }).first().waitFor(wait);

  // Charts: the legend shows the values of the moment under the pointer, or of the moment that the arrow keys choose.
  const legend = kind => card(kind).locator(".chart .legend");
  const ofNow = /^— granted [\d.]+\/s, ┄ refused [\d.]+\/s$/, ofThen = /^\d+:\d\d:\d\d.*: — granted ([\d.]+\/s|–), ┄ refused/;
  const says = (kind, what) => until(`${kind} says ${what}`, async () => what.test(await legend(kind).textContent()));
  const known = samples => page.evaluate(n => [...near].filter(c => histories.get(c.sampleId)?.times.length >= n).length, samples);
  await until("ten seconds of all eight", async () => await known(10) === 8);
  await says("rate_limiter", ofNow);
  await says("hedge", /^— calls [\d.]+\/s, ┄ hedges [\d.]+\/s$/);
  await says("coalescer", /^— led [\d.]+\/s, ┄ joined [\d.]+\/s$/);
  await says("retry", /^— calls [\d.]+\/s, ┄ retries [\d.]+\/s$/);
  assert.match(await card("rate_limiter").locator(".plot .top").textContent(), /^[125]0*\/s$/);
  await card("rate_limiter").locator(".chart").focus();
  await page.keyboard.press("ArrowLeft");
  await says("rate_limiter", ofThen);
  const recent = await legend("rate_limiter").textContent();
  await page.keyboard.press("Home");  // ten minutes ago there was no service: the oldest sample, which has no rate
  await says("rate_limiter", /: — granted –, ┄ refused –$/);
  assert.notEqual(await legend("rate_limiter").textContent(), recent);
  await page.keyboard.press("Escape");
  await says("rate_limiter", ofNow);
  await card("resource_pool").locator(".plot").hover({ position: { x: 200, y: 28 } });
  // The oldest sample, which may be older than the zones.
  await says("resource_pool", /^\d+:\d\d:\d\d.*: — leased (\d+|–), ┄ waiting (\d+|–)$/);
  await page.mouse.move(0, 0);
  await says("resource_pool", /^— leased \d+, ┄ waiting \d+$/);
  await says("circuit_breaker", /^closed since \d+:\d\d:\d\d.*, probes succeeded$/);

  // The page opens with filled charts: the server has the history.
  await page.reload();
  await page.locator("#link.live").waitFor(wait);
  await until("all eight have a history", async () => await known(10) === 8);
  assert.equal(await page.locator(".strip rect").count() >= 2, true);  // closed, then open

  // Act, with the keyboard alone.
  await page.locator("#token").fill("the-secret");
  const pause = card("resource_pool").getByRole("button", { name: "Pause" });
  await pause.focus();
  await page.keyboard.press("Enter");
  await page.locator(".card[data-kind=resource_pool][data-state=paused]").waitFor(wait);
  await page.locator("#said", { hasText: "done: pause" }).waitFor(wait);
  await card("resource_pool").getByRole("button", { name: "Resume" }).press("Enter");
  await page.locator(".card[data-kind=resource_pool][data-state=active]").waitFor(wait);
  await page.locator("#token").fill("wrong");
  await card("circuit_breaker").getByRole("button", { name: "Force open" }).click();
  await page.locator("#said", { hasText: "refused" }).waitFor(wait);
  await page.screenshot({ path: join(folder, "light.png"), fullPage: true });

  // On a phone and on a desk, by day and by night, nothing is wider than the screen, and text differs from its ground.
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const width of [360, 390, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
      const [back, text] = await page.evaluate(() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]);
      assert.notEqual(back, text);
      await page.screenshot({ path: join(folder, `${width}-${colorScheme}.png`), fullPage: true });
    }
  }

  // A filter by name, which hides zones without a match, and zones that fold; with the keyboard alone.
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.locator("#filter").fill("REPORTS");
  await card("resource_pool").waitFor({ ...wait, state: "hidden" });
  assert.equal(await page.locator(".card:visible").count(), 1);
  assert.equal(await page.locator("summary .dim").textContent(), "1 of 8 parts");
  assert.equal(await page.locator("#events li:visible").count(), 0);
  await page.locator("#filter").fill("nothing of that name");
  assert.equal(await page.locator("[data-zone-section]:visible").count(), 0);
  await page.locator("#filter").fill("");
  await page.locator("summary").focus();
  await page.keyboard.press("Enter");
  await card("bulkhead").waitFor({ ...wait, state: "hidden" });
  await page.keyboard.press("Enter");
  await card("bulkhead").waitFor(wait);

  // A hundred zones of ten: the page draws only the cards on the screen or near it, and the others when they come near.
  const [crowd, crowded] = await begin(["many"]);
  try {
    await page.goto(`http://127.0.0.1:${crowded}/`);
    await until("all cards are there", async () => await page.locator(".card").count() === 1008);
    const drawn = () => page.evaluate(() => [...document.querySelectorAll(".card")].filter(c => c.querySelector("dl").children.length).length);
    await until("the first are drawn", async () => await drawn() > 0);
    assert.ok(await drawn() < 60, `${await drawn()} of 1,005 cards are drawn`);
    const last = page.locator(".card[data-zone=zone199][data-name=breaker9]");
    await last.scrollIntoViewIfNeeded();
    await last.locator("dl", { hasText: "failures in a row" }).waitFor(wait);
    await page.locator("#filter").fill("zone150 / breaker7");
    await until("one is left", async () => await page.locator(".card:visible").count() === 1);
  } finally {
    // A page that still asks would log errors, because nobody answers.
    await page.goto("about:blank");
    crowd.kill();
  }
  await page.goto(`http://127.0.0.1:${port}/`);
  await page.locator("#link.live").waitFor(wait);

  // The 401 of the wrong token is the only complaint.
  assert.deepEqual(complaints.filter(c => !/401/.test(c)), []);

  // The service ends: the page says so, and keeps the last values.
  tell("quit");
  await page.locator("#link.lost").waitFor(wait);
  assert.equal(await card("circuit_breaker").count(), 1);
  console.log("ok");
} finally {
  await browser.close();
  load.kill();
}
