package auth0fake

import "net/http"

// key is a key in a role: current, next or previous.
func key(role string) Object {
	return Object{"kid": random(32), "cert": "-----BEGIN CERTIFICATE-----", "fingerprint": "AA", "thumbprint": "AA", role: true}
}

// rotated answers about keys. A rotation makes the next key the current one, and a
// new one the next.
func (a *Tenant) rotated(w http.ResponseWriter, is match, parts []string, path string) bool {
	switch {
	case is("GET", "connections", "*", "keys"):
		reply(w, http.StatusOK, append([]Object{}, a.objects.List(path)...))
	case is("POST", "connections", "*", "keys", "rotate"), is("POST", "keys", "signing", "rotate"):
		if parts[0] == "connections" && a.objects.Get("connections", parts[1]) == nil {
			missing(w, "connection")
			return true
		}
		path = path[:len(path)-len("/rotate")]
		for _, o := range a.objects.List(path) {
			switch {
			case o["current"] == true:
				delete(o, "current")
				o["previous"] = true
			case o["next"] == true:
				delete(o, "next")
				o["current"] = true
			}
		}
		made := key("next")
		a.objects.Add(path, made)
		reply(w, http.StatusCreated, made)
	default:
		return false
	}
	return true
}

// scim answers about tokens for SCIM.
func (a *Tenant) scim(w http.ResponseWriter, is match, parts []string, path string, body Object) bool {
	switch {
	case is("GET", "connections", "*", "scim-configuration", "tokens"):
		reply(w, http.StatusOK, append([]Object{}, a.objects.List(path)...))
	case is("POST", "connections", "*", "scim-configuration", "tokens"):
		id := "tok_" + random(22)
		o := Object{"token_id": id, "scopes": body["scopes"], "created_at": when}
		a.objects.Add(path, o)
		a.secrets[id] = "told-once-" + random(40)
		reply(w, http.StatusCreated, Object{"token_id": id, "scopes": body["scopes"], "created_at": when, "token": a.secrets[id]})
	case is("DELETE", "connections", "*", "scim-configuration", "tokens", "*"):
		a.objects.Remove(path[:len(path)-len(parts[4])-1], parts[4])
		reply(w, http.StatusNoContent, nil)
	default:
		return false
	}
	return true
}
