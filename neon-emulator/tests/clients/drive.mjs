// Drives one of Neon's own clients, unmodified, through the life of a project on the emulator:
//
//   node drive.mjs cli FOLDER PACKAGE    a command line (`neonctl` or `neon`) installed in FOLDER
//   node drive.mjs api FOLDER            the library `@neondatabase/api-client`
//
// The environment says where the emulator is: NEON_API_HOST (ends in /api/v2), NEON_API_KEY, and
// PGPORT, because the command lines print connection strings without a port.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const [kind, folder, name] = process.argv.slice(2);
const { NEON_API_HOST: host, NEON_API_KEY: key } = process.env;

async function sql(uri, statement) {
  const { stdout } = await run("psql", ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", uri, "-c", statement]);
  return stdout.trim();
}

// Looks until it sees something true.
async function eventually(what, look) {
  const end = Date.now() + 60_000;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    assert.ok(Date.now() < end, `waited in vain for: ${what}`);
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

// The server's time, as clients write it, when nothing is committed at it any more.
async function timeOf(uri) {
  const millis = async () => Math.trunc(Number(await sql(uri, "SELECT extract(epoch FROM clock_timestamp()) * 1000")));
  const then = (await millis()) + 1;
  await eventually("the clock to move on", async () => (await millis()) > then);
  return new Date(then).toISOString();
}

async function commandLine() {
  const { bin } = createRequire(`${folder}/`)(`${name}/package.json`);
  const program = join(folder, "node_modules", name, bin[name]);
  const config = mkdtempSync(join(tmpdir(), "neon-cli-"));
  const options = ["--api-host", host, "--config-dir", config, "--no-analytics", "--no-color"];
  // What follows "--" is for another program.
  const said = async (...words) => {
    const end = words.includes("--") ? words.indexOf("--") : words.length;
    const line = [program, ...words.slice(0, end), ...options, ...words.slice(end)];
    const { stdout } = await run(process.execPath, line, { cwd: config });
    return stdout;
  };
  const json = async (...words) => JSON.parse(await said(...words, "--output", "json"));

  assert.equal((await json("me")).email, "emulator@local.localhost");
  const { project } = await json("projects", "create", "--name", `made-by-${name}`);
  const listed = await json("projects", "list");
  assert.ok((listed.projects ?? listed).some((one) => one.id === project.id), "projects list");
  assert.equal((await json("projects", "get", project.id)).name, `made-by-${name}`);
  const on = (...words) => json(...words, "--project-id", project.id);
  const text = async (...words) => (await said(...words, "--project-id", project.id)).trim();

  const main = await text("connection-string", "main");
  await sql(main, "CREATE TABLE t AS SELECT 1 AS n");
  const pooled = await text("connection-string", "main", "--pooled");
  assert.match(pooled, /-pooler\./);
  assert.equal(await sql(pooled, "SELECT n FROM t"), "1");
  const inPsql = ["--", "-XAtq", "-c", "SELECT n + 1 FROM t"];
  const printed = await said("connection-string", "main", "--psql", "--project-id", project.id, ...inPsql);
  assert.equal(printed.trim(), "2");
  assert.equal((await json("projects", "update", project.id, "--name", `kept-by-${name}`)).name, `kept-by-${name}`);

  const dev = (await on("branches", "create", "--name", "dev/one")).branch;
  assert.equal((await on("branches", "get", "dev/one")).id, dev.id);
  await on("branches", "rename", "dev/one", "dev/two");
  const names = (await on("branches", "list")).map((branch) => branch.name);
  assert.deepEqual(names.sort(), ["dev/two", "main"]);
  await on("branches", "set-expiration", "dev/two", "--expires-at", new Date(Date.now() + 3_600_000).toISOString());

  await on("roles", "create", "--name", "app", "--branch", "dev/two");
  const roles = await on("roles", "list", "--branch", "dev/two");
  assert.deepEqual(roles.map((role) => role.name), ["app", "neondb_owner"]);
  await on("databases", "create", "--name", "shop", "--owner-name", "app", "--branch", "dev/two");
  const databases = await on("databases", "list", "--branch", "dev/two");
  assert.deepEqual(databases.map((database) => database.name), ["neondb", "shop"]);
  const shop = await text("connection-string", "dev/two", "--role-name", "app", "--database-name", "shop");
  assert.equal(await sql(shop, "SELECT current_user || '@' || current_database()"), "app@shop");
  await on("databases", "delete", "shop", "--branch", "dev/two");
  await on("roles", "delete", "app", "--branch", "dev/two");

  await on("branches", "create", "--name", "bare", "--no-compute");
  await on("branches", "add-compute", "bare", "--type", "read_write");
  const added = await text("connection-string", "bare", "--role-name", "neondb_owner", "--database-name", "neondb");
  assert.equal(await sql(added, "SELECT n FROM t"), "1");
  await sql(added, "CREATE TABLE added (n int)");
  const diff = await text("branches", "schema-diff", "main", "bare", "--database", "neondb");
  assert.match(diff, /\+CREATE TABLE public\.added/);
  await on("branches", "reset", "bare", "--parent");
  assert.equal(await sql(added, "SELECT to_regclass('added') IS NULL"), "t");

  const good = await timeOf(main);
  await sql(main, "DELETE FROM t");
  await on("branches", "restore", "main", `^self@${good}`, "--preserve-under-name", "main_before");
  assert.equal(await sql(main, "SELECT n FROM t"), "1", "restored, on the same host with the same password");

  await snapshots(on, main);

  await on("branches", "set-default", "bare");
  assert.equal((await on("branches", "get", "bare")).default, true);
  await on("branches", "delete", "dev/two");
  const left = (await on("branches", "list")).map((branch) => branch.name);
  assert.deepEqual(left.sort(), ["bare", "main", "main (old)", "main_before"]);
  const actions = (await on("operations", "list")).map((operation) => operation.action);
  assert.ok(actions.includes("create_branch") && actions.includes("delete_timeline"), actions.join());
  await json("projects", "delete", project.id);
}

// Back to a snapshot on the same host, and the rest of what a command line does with snapshots.
async function snapshots(on, main) {
  await on("snapshots", "create", "--branch", "main_before", "--name", "kept");
  assert.deepEqual((await on("snapshots", "list")).map((one) => one.name), ["kept"]);
  await on("snapshots", "update", "kept", "--name", "good");
  await on("snapshots", "restore", "good", "--name", "look", "--target-branch", "main");
  await on("snapshots", "finalize", "look");
  await eventually("the operations to finish", async () => {
    return (await on("operations", "list")).every((operation) => operation.status === "finished");
  });
  assert.equal(await sql(main, "SELECT count(*) FROM t"), "0", "what was there when it was taken");
  await on("snapshots", "schedule", "set", "--branch", "main", "--frequency", "daily", "--hour", "3");
  assert.deepEqual(await on("snapshots", "schedule", "get", "--branch", "main"), [{ frequency: "daily", hour: 3 }]);
  await on("snapshots", "delete", "good");
  assert.deepEqual(await on("snapshots", "list"), []);
}

// A compute for a branch that has none, how its schema differs, and a branch as it was at a time.
async function computeAndPast({ neon, id, done }, main, uri) {
  const bare = (await done(neon.createProjectBranch(id, { branch: { name: "bare", parent_id: main } }))).branch.id;
  await done(neon.createProjectEndpoint(id, { endpoint: { branch_id: bare, type: "read_write" } }));
  const query = { projectId: id, branch_id: bare, database_name: "neondb", role_name: "neondb_owner" };
  const added = (await neon.getConnectionUri(query)).data.uri;
  assert.equal(await sql(added, "SELECT n FROM t"), "1");
  await sql(added, "CREATE TABLE added (n int)");
  const compare = { projectId: id, branchId: bare, db_name: "neondb" };
  assert.match((await neon.getProjectBranchSchemaComparison(compare)).data.diff, /\+CREATE TABLE public\.added/);

  const good = await timeOf(uri);
  await sql(uri, "DELETE FROM t");
  const past = { source_branch_id: main, source_timestamp: good, preserve_under_name: "main_before" };
  await done(neon.restoreProjectBranch(id, main, past));
  assert.equal(await sql(uri, "SELECT n FROM t"), "1", "restored, on the same host with the same password");
}

async function library() {
  const { createApiClient } = createRequire(`${folder}/`)("@neondatabase/api-client");
  const neon = createApiClient({ apiKey: key, baseURL: host });
  const made = (await neon.createProject({ project: { name: "made-by-api-client" } })).data;
  const id = made.project.id;
  const settled = () => eventually("the operations to finish", async () => {
    const { data } = await neon.listProjectOperations({ projectId: id });
    return data.operations.every((operation) => operation.status === "finished");
  });
  const done = async (call) => {
    const { data } = await call;
    await settled();
    return data;
  };
  await settled();
  const main = made.branch.id;
  const uri = made.connection_uris[0].connection_uri;
  await sql(uri, "CREATE TABLE t AS SELECT 1 AS n");

  assert.equal((await neon.getCurrentUserInfo()).data.login, "emulator");
  assert.equal((await neon.getAuthDetails()).data.auth_method, "api_key_user");
  assert.deepEqual((await neon.getCurrentUserOrganizations()).data.organizations, []);
  assert.ok((await neon.listProjects({ limit: 100 })).data.projects.some((one) => one.id === id));
  assert.deepEqual((await neon.listSharedProjects({})).data.projects, []);
  await done(neon.updateProject(id, { project: { name: "renamed" } }));
  assert.equal((await neon.getProject(id)).data.project.name, "renamed");

  const child = (await done(neon.createProjectBranch(id, {
    branch: { name: "child", parent_id: main },
    endpoints: [{ type: "read_write" }],
    annotation_value: { made: "by-api-client" },
  }))).branch.id;
  const listed = (await neon.listProjectBranches({ projectId: id, search: "child", limit: 1 })).data;
  assert.equal(listed.branches[0].id, child);
  assert.equal(listed.annotations[child].value.made, "by-api-client");
  await done(neon.updateProjectBranch(id, child, { branch: { name: "renamed" } }));
  assert.equal((await neon.getProjectBranch(id, child)).data.branch.name, "renamed");
  const role = (await done(neon.createProjectBranchRole(id, child, { role: { name: "app" } }))).role;
  assert.equal((await neon.getProjectBranchRolePassword(id, child, "app")).data.password, role.password);
  await done(neon.createProjectBranchDatabase(id, child, { database: { name: "shop", owner_name: "app" } }));
  const { roles } = (await neon.listProjectBranchRoles(id, child)).data;
  assert.deepEqual(roles.map((one) => one.name), ["app", "neondb_owner"]);
  const { databases } = (await neon.listProjectBranchDatabases(id, child)).data;
  assert.deepEqual(databases.map((one) => one.name), ["neondb", "shop"]);
  const query = { projectId: id, branch_id: child, database_name: "shop", role_name: "app", pooled: true };
  const shop = (await neon.getConnectionUri(query)).data.uri;
  assert.equal(await sql(shop, "SELECT current_user"), "app");
  const compare = { projectId: id, branchId: child, db_name: "neondb" };
  assert.equal((await neon.getProjectBranchSchemaComparison(compare)).data.diff, "");

  const endpoint = (await neon.listProjectBranchEndpoints(id, child)).data.endpoints[0].id;
  await done(neon.suspendProjectEndpoint(id, endpoint));
  assert.equal((await neon.getProjectEndpoint(id, endpoint)).data.endpoint.current_state, "idle");
  await done(neon.startProjectEndpoint(id, endpoint));
  await done(neon.restartProjectEndpoint(id, endpoint));
  await done(neon.updateProjectEndpoint(id, endpoint, { endpoint: { autoscaling_limit_max_cu: 2 } }));
  await done(neon.restoreProjectBranch(id, child, { source_branch_id: main }));
  await computeAndPast({ neon, id, done }, main, uri);
  await done(neon.setDefaultProjectBranch(id, child));
  await done(neon.setDefaultProjectBranch(id, main));
  await done(neon.deleteProjectBranch({ projectId: id, branchId: child }));
  await assert.rejects(neon.getProjectBranch(id, child), (error) => error.response.status === 404);
  await neon.deleteProject(id);
}

try {
  await { cli: commandLine, api: library }[kind]();
} catch (error) {
  // The library's errors hold everything but say little.
  const { config, response } = error;
  if (response) console.error(config.method, config.url, response.status, response.data);
  throw error;
}
