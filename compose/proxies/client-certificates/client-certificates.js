// The certificate of a client as RFC 9440 §2.1 wants it: DER, base64, between colons.
function clientCert(request) {
  const pem = request.variables.ssl_client_raw_cert;
  return pem ? `:${pem.replace(/-----[A-Z ]+-----|\s/g, '')}:` : '';
}

export default { clientCert };
