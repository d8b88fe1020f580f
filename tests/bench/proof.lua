-- Tokens for a client that signs: PROOF is `assertion` (private_key_jwt, RFC 7523 §2.2) or `dpop` (RFC 9449 §4.2). The
-- signatures are made here, on the load generator's core. The key is that of RFC 8032 §7.1, test 1: no secret of anyone.
-- FORM and AUTHORIZATION as in token.lua; CLIENT_ID and ISSUER go into assertions.
dofile(os.getenv("BENCH") .. "/report.lua")

local ffi = require("ffi")
ffi.cdef([[
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_md_ctx_st EVP_MD_CTX;
EVP_PKEY *EVP_PKEY_new_raw_private_key(int type, void *engine, const unsigned char *key, size_t length);
EVP_MD_CTX *EVP_MD_CTX_new(void);
int EVP_MD_CTX_reset(EVP_MD_CTX *context);
int EVP_DigestSignInit(EVP_MD_CTX *context, void *pctx, const void *type, void *engine, EVP_PKEY *key);
int EVP_DigestSign(EVP_MD_CTX *context, unsigned char *signature, size_t *length, const char *message, size_t size);
int EVP_EncodeBlock(unsigned char *text, const unsigned char *bytes, int length);
]])
local crypto = ffi.load("libcrypto.so.3")

local ED25519 = 1087
local seed = ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"):gsub("..", function(digits)
  return string.char(tonumber(digits, 16))
end)
local key = crypto.EVP_PKEY_new_raw_private_key(ED25519, nil, seed, #seed)
local context = crypto.EVP_MD_CTX_new()

local function base64url(bytes)
  local text = ffi.new("unsigned char[?]", 4 * math.ceil(#bytes / 3) + 1)
  local length = crypto.EVP_EncodeBlock(text, ffi.cast("const unsigned char *", bytes), #bytes)
  return (ffi.string(text, length):gsub("+", "-"):gsub("/", "_"):gsub("=", ""))
end

local function sign(message)
  local signature, length = ffi.new("unsigned char[64]"), ffi.new("size_t[1]", 64)
  crypto.EVP_MD_CTX_reset(context)
  assert(crypto.EVP_DigestSignInit(context, nil, nil, nil, key) == 1)
  assert(crypto.EVP_DigestSign(context, signature, length, message, #message) == 1)
  return base64url(ffi.string(signature, 64))
end

local is_dpop = os.getenv("PROOF") == "dpop"
local issuer, client = os.getenv("ISSUER"), os.getenv("CLIENT_ID")
local header = is_dpop
    and '{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}'
  or '{"alg":"EdDSA","kid":"bench","typ":"client-authentication+jwt"}'
header = base64url(header)
math.randomseed(os.time() + os.clock() * 1e6)
local run, count = tostring(math.random(1, 2 ^ 31)), 0

local function proof()
  count = count + 1
  local now, jti = os.time(), run .. "-" .. count
  local claims = is_dpop and '{"jti":"%s","htm":"POST","htu":"%s/oauth/token","iat":%d}'
    or '{"jti":"%s","aud":"%s","iat":%d,"exp":%d,"iss":"%s","sub":"%s"}'
  local message = header .. "." .. base64url(claims:format(jti, issuer, now, now + 60, client, client))
  return message .. "." .. sign(message)
end

function request()
  local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
  local form = os.getenv("FORM")
  if is_dpop then
    headers["Authorization"] = os.getenv("AUTHORIZATION")
    headers["DPoP"] = proof()
  else
    form = form
      .. "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion="
      .. proof()
  end
  return wrk.format("POST", nil, headers, form)
end
