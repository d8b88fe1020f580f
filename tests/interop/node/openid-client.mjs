// openid-client, a certified relying party, as strict as it can be: authorization code with PKCE, state and nonce, the
// issuer of the answer, the ID token's signature, userinfo, refresh.

import * as client from 'openid-client';

import { listen, person, visit } from './browser.mjs';
import { assert, start, step } from './steps.mjs';

const { nodeUrl } = start();
const { ISSUER, WEB_CLIENT_ID, WEB_CLIENT_SECRET } = process.env;
const listener = await listen();

const { config } = await step('discovery', async () => {
  const execute = [client.allowInsecureRequests, client.enableNonRepudiationChecks];
  const authentication = client.ClientSecretBasic(WEB_CLIENT_SECRET);
  const config = await client.discovery(new URL(ISSUER), WEB_CLIENT_ID, undefined, authentication, { execute });
  const metadata = config.serverMetadata();
  assert.equal(metadata.authorization_response_iss_parameter_supported, true);
  assert.ok(metadata.supportsPKCE());
  assert.ok(metadata.userinfo_endpoint);
  return { config, told: metadata.issuer };
});

const verifier = client.randomPKCECodeVerifier();
const state = client.randomState();
const nonce = client.randomNonce();

const { redirect } = await step('authorization, sign-in and consent in the browser', async () => {
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: listener.redirectUri,
    scope: 'openid profile email offline_access mcp:read',
    resource: nodeUrl.href,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
  });
  const { redirect, seen } = await visit(url, person());
  assert.equal(redirect.searchParams.get('iss'), ISSUER);
  return { redirect, told: seen.join(' | ') };
});

const { tokens } = await step('code, with PKCE, state, nonce and issuer checked', async () => {
  const tokens = await client.authorizationCodeGrant(
    config,
    redirect,
    { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true },
    { resource: nodeUrl.href },
  );
  assert.equal(tokens.claims().nonce, nonce);
  assert.equal(tokens.claims().aud, WEB_CLIENT_ID);
  assert.ok(tokens.claims().auth_time);
  assert.ok(tokens.refresh_token);
  return { tokens, told: JSON.stringify(tokens.claims()) };
});

await step('userinfo', async () => {
  const about = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
  assert.equal(about.preferred_username, person().username);
  return { told: JSON.stringify(about) };
});

await step('the code is spent', async () => {
  const again = client.authorizationCodeGrant(config, redirect, {
    pkceCodeVerifier: `${verifier.slice(0, -1)}${verifier.endsWith('A') ? 'B' : 'A'}`,
    expectedState: state,
    expectedNonce: nonce,
  });
  await assert.rejects(again, (error) => error.error === 'invalid_grant');
});

const { renewed } = await step('refresh, narrowed and whole', async () => {
  const narrow = await client.refreshTokenGrant(config, tokens.refresh_token, { scope: 'openid' });
  assert.equal(narrow.scope, 'openid');
  const renewed = await client.refreshTokenGrant(config, narrow.refresh_token);
  assert.ok(renewed.scope.split(' ').includes('mcp:read'), renewed.scope);
  assert.equal(renewed.claims().sub, tokens.claims().sub);
  assert.notEqual(renewed.refresh_token, tokens.refresh_token);
  return { renewed, told: renewed.scope };
});

await step('revocation ends it', async () => {
  await client.tokenRevocation(config, renewed.refresh_token);
  await assert.rejects(client.refreshTokenGrant(config, renewed.refresh_token), (error) => error.error === 'invalid_grant');
  const about = await client.tokenIntrospection(config, renewed.access_token);
  assert.equal(about.active, false);
});

listener.close();
process.exit(0);
