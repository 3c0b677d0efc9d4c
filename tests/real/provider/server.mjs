// The OAuth provider of the real tests: oidc-provider behind a thin HTTP front that logs what arrives
// and what is issued (the proxy's own log is searched for it), and that can be told at run time to
// answer otherwise. stage.py copies this file beside the installed packages and starts it:
// node server.mjs SETTINGS.json
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import querystring from 'node:querystring';
import * as jose from 'jose';
import Provider, { errors } from 'oidc-provider';

const settings = JSON.parse(fs.readFileSync(process.argv[2]));
const { passwords, secrets } = settings;
const issuer = `https://localhost:${settings.https_port}`;
const log = fs.createWriteStream(settings.log, { flags: 'a' });
const note = (entry) => log.write(`${JSON.stringify({ at: new Date().toISOString(), ...entry })}\n`);

// Changed by GET /control?name=value&…
const behaviour = {
  access_ttl: 3600,
  rotate: false,
  issue_refresh: true,
  token_delay_ms: 0,
  token_fail_count: 0, // so many of the next token answers are replaced by the two below
  token_fail_status: 400,
  token_fail_body: '{"error":"invalid_grant","error_description":"told to refuse"}',
  omit_expires_in: false,
  string_expires_in: false,
};

const scopes = [
  'openid', 'offline_access', 'email', 'mail', 'https://mail.google.com/', 'https://outlook.office365.com/.default',
];
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const certificate = crypto.createPublicKey(fs.readFileSync(settings.client_certificate));
const certificateJwk = { ...await jose.exportJWK(certificate), alg: 'RS256', use: 'sig' };
const serviceAccount = crypto.createPublicKey(fs.readFileSync(settings.service_account_key));
const signing = await jose.generateKeyPair('RS256', { extractable: true });

const plain = { response_types: [], redirect_uris: [], scope: scopes.join(' '), application_type: 'native' };
const code = {
  ...plain, response_types: ['code'], redirect_uris: settings.redirects, grant_types: ['authorization_code', 'refresh_token'],
};
const secret = (client_id) => ({ client_id, client_secret: secrets[client_id], token_endpoint_auth_method: 'client_secret_post' });
const open = (client_id) => ({ client_id, token_endpoint_auth_method: 'none' });
const signed = (client_id) => ({
  client_id, token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'RS256', jwks: { keys: [certificateJwk] },
});
const provider = new Provider(issuer, {
  clients: [
    { ...code, ...secret('code-secret') },
    { ...code, ...open('code-public'), pkce_must: true },
    { ...code, ...signed('code-jwt') },
    { ...plain, ...open('device'), grant_types: [DEVICE, 'refresh_token'] },
    { ...plain, ...secret('ropc'), grant_types: ['password', 'refresh_token'] },
    { ...plain, ...open('ropc-public'), grant_types: ['password', 'refresh_token'] },
    // Tokens of client credentials have no subject; mail_user is the mailbox they open.
    { ...plain, ...secret('ccg-bob'), grant_types: ['client_credentials'], mail_user: 'bob@real.test' },
    { ...plain, ...secret('ccg-wrong'), grant_types: ['client_credentials'], mail_user: 'nobody@real.test' },
    { ...plain, ...signed('ccg-jwt'), grant_types: ['client_credentials'], mail_user: 'frank@real.test' },
    { ...plain, ...open('google-sa'), grant_types: [JWT_BEARER] },
    { ...plain, client_id: 'dovecot', client_secret: secrets.dovecot, grant_types: [], token_endpoint_auth_method: 'client_secret_basic' },
  ],
  jwks: { keys: [{ ...await jose.exportJWK(signing.privateKey), alg: 'RS256', use: 'sig', kid: 'signing' }] },
  cookies: { keys: [crypto.randomBytes(16).toString('hex')] },
  scopes,
  claims: { openid: ['sub'], email: ['email'] },
  extraClientMetadata: { properties: ['mail_user', 'pkce_must'] },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
  async findAccount(ctx, id) {
    return id in passwords ? { accountId: id, claims: async () => ({ sub: id, email: id }) } : undefined;
  },
  async extraTokenClaims(ctx, token) {
    const user = token.accountId || token.client?.mail_user;
    return user && { email: user, username: user };
  },
  pkce: { required: (ctx, client) => !!client.pkce_must },
  rotateRefreshToken: () => behaviour.rotate,
  issueRefreshToken: async (ctx, client) => behaviour.issue_refresh && client.grantTypeAllowed('refresh_token'),
  ttl: {
    AccessToken: () => behaviour.access_ttl, ClientCredentials: () => behaviour.access_ttl, AuthorizationCode: 60,
    DeviceCode: 300, RefreshToken: 86400, Grant: 86400, Interaction: 3600, Session: 86400, IdToken: 3600,
  },
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
  },
  renderError: async (ctx, out, error) => {
    note({ event: 'error page', ...out, stack: error.stack?.split('\n')[0] });
    ctx.type = 'json';
    ctx.body = out;
  },
});

async function issue(ctx, accountId, wanted, gty, refresh) {
  const { AccessToken, RefreshToken, Grant } = ctx.oidc.provider;
  const { client } = ctx.oidc;
  const scope = (wanted || 'mail').split(' ').filter((name) => scopes.includes(name)).join(' ');
  const grant = new Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope(scope);
  const common = { accountId, client, grantId: await grant.save(), gty, scope };
  const access = new AccessToken(common);
  ctx.oidc.entity('AccessToken', access);
  ctx.body = { access_token: await access.save(), expires_in: access.expiration, token_type: 'Bearer', scope };
  if (refresh) {
    const token = new RefreshToken({ ...common, authTime: Math.floor(Date.now() / 1000) });
    ctx.oidc.entity('RefreshToken', token);
    ctx.body.refresh_token = await token.save();
  }
}
provider.registerGrantType('password', async (ctx) => {
  const { username, password, scope } = ctx.oidc.params;
  if (!(username in passwords) || passwords[username] !== password) throw new errors.InvalidGrant('invalid username or password');
  await issue(ctx, username, scope, 'password', behaviour.issue_refresh && ctx.oidc.client.grantTypeAllowed('refresh_token'));
}, ['username', 'password', 'scope']);
provider.registerGrantType(JWT_BEARER, async (ctx) => {
  let payload;
  try {
    const rules = { algorithms: ['RS256'], issuer: settings.service_account };
    ({ payload } = await jose.jwtVerify(ctx.oidc.params.assertion, serviceAccount, rules));
  } catch (error) {
    throw new errors.InvalidGrant(`assertion rejected: ${error.message}`);
  }
  if (!(payload.sub in passwords)) throw new errors.InvalidGrant('unknown sub');
  await issue(ctx, payload.sub, payload.scope, 'jwt-bearer', false);
}, ['assertion', 'scope']);
for (const event of ['grant.error', 'authorization.error', 'server_error', 'introspection.error', 'device_authorization.error']) {
  provider.on(event, (ctx, error) => note({
    event, path: ctx.path, client: ctx.oidc?.client?.clientId, error: error?.error || error?.message, detail: error?.error_description, more: error?.error_detail,
  }));
}
const answer = provider.callback();

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function control(url, response) {
  for (const [name, value] of url.searchParams) {
    if (!(name in behaviour)) { response.writeHead(400).end(`unknown: ${name}\n`); return; }
    const kind = typeof behaviour[name];
    if (kind === 'number') behaviour[name] = Number(value);
    else behaviour[name] = kind === 'boolean' ? ['1', 'true'].includes(value) : value;
  }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(behaviour));
}

async function front(request, response) {
  try {
    const url = new URL(request.url, issuer);
    if (url.pathname === '/control') { control(url, response); return; }
    let body = request.method === 'POST' ? await read(request) : '';
    // Service accounts name no client: the one that owns the grant is added here.
    if (url.pathname === '/google/token') { request.url = '/token'; body += '&client_id=google-sa'; }
    request.body = body;
    const introspection = url.pathname.startsWith('/token/introspection');
    if (request.method === 'POST' && !introspection) {
      note({ event: 'request', path: url.pathname, authorization: request.headers.authorization, params: querystring.parse(body) });
    }
    if (url.pathname === '/token' || url.pathname === '/google/token') {
      if (behaviour.token_delay_ms) await new Promise((done) => { setTimeout(done, behaviour.token_delay_ms); });
      if (behaviour.token_fail_count > 0) {
        behaviour.token_fail_count -= 1;
        response.writeHead(behaviour.token_fail_status, { 'content-type': 'application/json' }).end(behaviour.token_fail_body);
        return;
      }
      const end = response.end.bind(response);
      response.end = (chunk, ...rest) => {
        try {
          const json = JSON.parse(chunk);
          if (behaviour.omit_expires_in) delete json.expires_in;
          else if (behaviour.string_expires_in) json.expires_in = String(json.expires_in);
          note({ event: 'issued', body: json });
          chunk = JSON.stringify(json);
          response.setHeader('content-length', Buffer.byteLength(chunk));
        } catch { /* not JSON: passed on as it is */ }
        return end(chunk, ...rest);
      };
    }
    answer(request, response);
  } catch (error) {
    note({ event: 'front', error: error.stack });
    response.writeHead(500).end(String(error));
  }
}

const tls = { key: fs.readFileSync(settings.key), cert: fs.readFileSync(settings.certificate) };
for (const host of ['127.0.0.1', '::1']) {
  https.createServer(tls, front).listen(settings.https_port, host);
  http.createServer(front).listen(settings.http_port, host);
}
