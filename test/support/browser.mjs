// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Helpers for tests in a real browser: Debian's Chromium, driven by the playwright-core in `modules`. Exits with 77
// (skipped) when one of them is missing.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const browserPath = "/usr/bin/chromium";

function skip(why) {
  console.log(`skipped: there is no ${why}; ./dev test installs it`);
  process.exit(77);
}

// Call this before you start a server. `open` starts the browser.
export function findBrowser(modules) {
  if (!existsSync(browserPath)) skip(browserPath);
  let chromium;
  try {
    ({ chromium } = createRequire(resolve(modules, "node_modules", "x.js"))("playwright-core"));
  } catch {
    skip(`playwright-core in ${modules}`);
  }
  return {
    open: () => chromium.launch({ executablePath: browserPath, args: ["--no-sandbox", "--disable-gpu", "--disable-quic",
      "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] }),
  };
}

// A page, and the list of its uncaught and console errors.
export async function newPage(browser, viewport) {
  const page = await browser.newPage({ viewport });
  const complaints = [];
  page.on("pageerror", e => complaints.push(String(e)));
  page.on("console", m => m.type() === "error" && complaints.push(m.text()));
  return { page, complaints };
}
