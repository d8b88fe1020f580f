// No client: a node, as far as the server sees one. It enrols with an invite and asks for approvals.

import { createHash, randomUUID } from 'node:crypto';

import { SignJWT, exportJWK, generateKeyPair } from 'jose';

import { assert, operator } from './steps.mjs';

const CLIENT_ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

const sha256 = (text) => createHash('sha256').update(text).digest('base64url');
const seconds = () => Math.floor(Date.now() / 1000);

export class AskingNode {
  // Enrols at `issuer` under this name, for a resource of its own.
  static async enrol(issuer, name) {
    const resource = `http://localhost:1/${randomUUID()}/mcp`;
    const { invite } = operator('node', 'invite', '--resource', resource, '--name', name);
    const { publicKey, privateKey } = await generateKeyPair('EdDSA', { extractable: true });
    const now = seconds();
    const statement = {
      aud: issuer, iat: now, exp: now + 60, jti: randomUUID(), invite_sha256: sha256(invite), capabilities: ['mcp'],
    };
    const proof = await new SignJWT(statement)
      .setProtectedHeader({ typ: 'edge-hive-enrolment+jwt', alg: 'EdDSA' }).sign(privateKey);
    const answer = await fetch(`${issuer}/fleet/enroll`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ invite, jwk: await exportJWK(publicKey), proof }),
    });
    const welcome = await answer.json();
    assert.equal(answer.status, 201, JSON.stringify(welcome));
    return Object.assign(new AskingNode(), { issuer, privateKey, clientId: welcome.client_id });
  }

  // Asks whether a call may run; returns the address where a person answers.
  async ask(tool, summary, text, caller) {
    const assertion = await new SignJWT({ jti: randomUUID() })
      .setProtectedHeader({ alg: 'EdDSA' })
      .setIssuer(this.clientId).setSubject(this.clientId).setAudience(this.issuer).setExpirationTime(seconds() + 60)
      .sign(this.privateKey);
    const answer = await fetch(`${this.issuer}/fleet/approvals`, {
      method: 'POST',
      body: new URLSearchParams({
        client_assertion_type: CLIENT_ASSERTION, client_assertion: assertion, tool, summary, arguments: text,
        arguments_sha256: sha256(text), caller_iss: this.issuer, caller_sub: caller.subject,
        caller_client: caller.client, approver: 'caller', ttl: '10m',
      }),
    });
    const asked = await answer.json();
    assert.ok(answer.ok, JSON.stringify(asked));
    return asked.verification_uri;
  }
}
