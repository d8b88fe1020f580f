// The OAuthClientProvider of an interactive application, as the official TypeScript client asks for one.

import { randomUUID } from 'node:crypto';

import { visit } from './browser.mjs';
import { assert } from './steps.mjs';

// What an application keeps: the client's registration, its tokens, and one authorization under way. Without
// `information` it registers itself, or names itself by `clientMetadataUrl` where the server takes that.
export class Application {
  #listener;
  #context;
  #person;
  #information;
  #state;
  #verifier;
  #tokens;
  #asked;
  #discovered;
  seen = [];

  constructor({ listener, context, person, information, clientMetadataUrl, dpop, metadata }) {
    this.#listener = listener;
    this.#context = context;
    this.#person = person;
    this.#information = information;
    this.clientMetadataUrl = clientMetadataUrl;
    if (dpop) this.dpop = () => dpop;
    this.metadata = metadata;
  }

  get redirectUrl() {
    return this.#listener.redirectUri;
  }

  get clientMetadata() {
    const { redirectUrl, metadata } = this;
    return { client_name: 'interop', redirect_uris: [redirectUrl], token_endpoint_auth_method: 'none', ...metadata };
  }

  clientInformation() {
    return this.#information;
  }

  saveClientInformation(information) {
    this.#information = information;
  }

  state() {
    this.#state = randomUUID();
    return this.#state;
  }

  tokens() {
    return this.#tokens;
  }

  saveTokens(tokens) {
    this.#tokens = tokens;
  }

  saveCodeVerifier(verifier) {
    this.#verifier = verifier;
  }

  codeVerifier() {
    return this.#verifier;
  }

  saveDiscoveryState(state) {
    this.#discovered = state;
  }

  discoveryState() {
    return this.#discovered;
  }

  redirectToAuthorization(url) {
    this.#asked = url;
  }

  // What the person does when the application has opened the browser; returns the parameters of the redirect.
  async answer() {
    assert.ok(this.#asked, 'the client opened no browser');
    const { redirect, seen } = await visit(this.#asked, this.#person, this.#context);
    this.#asked = undefined;
    this.seen.push(...seen);
    assert.equal(redirect.searchParams.get('state'), this.#state);
    assert.ok(redirect.searchParams.get('iss'), 'RFC 9207: the issuer comes with the code');
    return redirect.searchParams;
  }

  // An access token that no longer works, as after its lifetime.
  spoil() {
    this.#tokens = { ...this.#tokens, access_token: `${this.#tokens.access_token.slice(0, -8)}AAAAAAAA` };
  }
}
