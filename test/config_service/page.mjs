// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// The demonstration in a real browser: page.mjs CONFIG_SERVICE SCREENSHOT_FOLDER MODULES SOURCE_ROOT
// Breaks the database with the page's button, sees the breaker open, heals it, sees it close.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import assert from "node:assert/strict";
import { findBrowser, newPage } from "../support/browser.mjs";

const [program, folder, modules, root] = process.argv.slice(2);
const chromium = findBrowser(modules);
const data = mkdtempSync(join(tmpdir(), "headgate-page-"));
mkdirSync(folder, { recursive: true });

async function start(...more) {
  const service = spawn(resolve(program), ["--config", "examples/config_service/config.json", "--data", data, "--listen", "127.0.0.1:0", ...more],
    { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise(end => service.once("exit", end));
  const url = await new Promise((got, failed) => {
    createInterface({ input: service.stdout }).on("line", line => { const l = JSON.parse(line); if (l.event === "listening") got(l.url); });
    ended.then(code => failed(new Error("the service ended with " + code)));
  });
  return { service, ended, url };
}
const browser = await chromium.open();
let running;
try {
  running = await start("--demo");
  const { page, complaints } = await newPage(browser, { width: 1280, height: 1400 });
  await page.goto(running.url);

  const wait = { timeout: 60000 };
  const card = (kind, name) => page.locator(`.card[data-kind=${kind}][data-name=${name}]`);
  const shows = (kind, name, state) => page.locator(`.card[data-kind=${kind}][data-name=${name}][data-state=${state}]`).waitFor(wait);
  await page.locator("#link.live").waitFor(wait);
  for (const [kind, name] of [["rate_limiter", "config_update"], ["rate_limiter", "ast_parse"], ["resource_pool", "database"],
    ["resource_pool", "ast_parser"], ["circuit_breaker", "config_server"], ["circuit_breaker", "database"], ["bulkhead", "sync"], ["retry", "look_up"], ["hedge", "look_up"], ["coalescer", "reads"]]) {
    await card(kind, name).waitFor(wait);
  }
  // The limiter refuses the eager writer within seconds, and the page names it.
  await card("rate_limiter", "config_update").locator("dl", { hasText: "busy: eager-eve" }).waitFor(wait);
  assert.equal(await page.locator("#admin").isVisible(), false, "no token is needed here");

  await page.getByRole("button", { name: "Break the database" }).click();
  await shows("circuit_breaker", "config_server", "open");
  await card("circuit_breaker", "config_server").locator(".state", { hasText: /open/ }).first().waitFor(wait);
  await page.locator("#events li[data-event=breaker_state]", { hasText: "closed → open" }).first().waitFor(wait);
  await page.screenshot({ path: join(folder, "demo-broken.png"), fullPage: true });

  await page.getByRole("button", { name: "Heal the database" }).click();
  await shows("circuit_breaker", "config_server", "closed");
  await page.locator("#events li[data-event=breaker_state]", { hasText: "→ closed" }).first().waitFor(wait);
  await page.screenshot({ path: join(folder, "demo-healed.png"), fullPage: true });
  assert.deepEqual(complaints, []);

  running.service.kill("SIGTERM");
  assert.equal(await running.ended, 0);
  await page.locator("#link.lost").waitFor(wait);

  // With users the page asks for a token, and shows itself to them only.
  writeFileSync(join(data, "users.json"), JSON.stringify({ users: [
    { name: "ann", sha256: createHash("sha256").update("of-ann").digest("hex") }] }));
  running = await start("--users", join(data, "users.json"));
  await page.goto(running.url);
  await page.locator("#link", { hasText: "a token is needed" }).waitFor(wait);
  await page.locator("#token").fill("of-ann");
  await page.locator("#token").press("Enter");
  await page.locator("#link.live").waitFor(wait);
  await card("circuit_breaker", "config_server").waitFor(wait);
  console.log("ok");
} finally {
  await browser.close();
  running?.service.kill("SIGKILL");
  rmSync(data, { recursive: true, force: true });
}
